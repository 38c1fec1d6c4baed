//! What is written: each entry has an id, and all that it says follows from that.

use aegis_agent::proto::event::{Daemon, Event, File, Kind, Process, Verdict, event::Detail};

/// The process that wrote an entry, and how many it had written before: no two entries have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    pub life: u32,
    pub n: u64,
}

impl Id {
    /// The kind of the entry; a life begins with what a daemon's begins with.
    pub fn kind(self) -> Kind {
        if self.n == 0 { Kind::Daemon } else { Kind::File }
    }

    /// Denials are committed at once.
    pub fn is_urgent(self) -> bool {
        self.n % 501 == 500
    }

    /// What the entry says.
    pub fn event(self) -> Event {
        let Self { life, n } = self;
        if n == 0 {
            let detail = Detail::Daemon(Daemon { state: "start".into(), text: life.to_string(), ..Daemon::default() });
            return Event { agent: agent(life), detail: Some(detail), ..Event::default() };
        }
        let mix = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(life);
        let path = format!("/work/soak/{life}/{n}/{}", "y".repeat(usize::try_from(mix % 150).unwrap()));
        let verdict = if self.is_urgent() { Verdict::Deny } else { Verdict::Allow };
        Event {
            agent: agent(life),
            session: format!("session {life}"),
            rule: format!("rule {}", n % 7),
            verdict: verdict as i32,
            kernel_seq: n,
            process: Some(Process { pid: u32::try_from(n % 4096).unwrap(), start: mix, ..Process::default() }),
            detail: Some(Detail::File(File { op: "open".into(), path: path.into(), ino: mix, ..File::default() })),
            ..Event::default()
        }
    }

    /// The id of an entry that says exactly what one with this id says.
    pub fn of(event: &Event) -> Option<Self> {
        let life = event.agent.strip_prefix("life ")?.parse().ok()?;
        let n = if event.process.is_some() { event.kernel_seq } else { 0 };
        let id = Self { life, n };
        (id.event() == *event).then_some(id)
    }
}

/// The name of the agent whose entries a life writes.
pub fn agent(life: u32) -> String {
    format!("life {life}")
}
