//! The kernel side under measurement: loaded, filled, and its records counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aegis_agent::engine::Host;
use aegis_agent::kernel::{EventRing, HookState, Kernel, Options, RepeatCounters};
use aegis_common::event::{EventHeader, FileBody, kind, verdict};
use aegis_common::policy::{AgentState, agent_flag};
use aegis_policy::{CompiledImage, Policy, compile, resolve};
use anyhow::{Context as _, Result, bail};
use zerocopy::FromBytes as _;

use crate::{
    rules::{self, Manifest},
    stage::GOVERNED,
};

/// Pins of the bench: a folder of its own, so that it never takes over an engine's maps.
const PINS: &str = "/sys/fs/bpf/aegis-bench";

/// Records by kind and verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    by_kind: BTreeMap<(u16, u8), u64>,
}

impl Records {
    /// How many there were.
    pub fn all(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// How many of them tell of a refusal.
    pub fn refusals(&self) -> u64 {
        self.by_kind.iter().filter(|((_, said), _)| *said == verdict::DENY).map(|(_, count)| count).sum()
    }
}

/// A record about a file.
pub struct Opened {
    /// `verdict::*`.
    pub verdict: u8,
    /// `reason::*`.
    pub reason: u8,
    /// Number of the rule that decided.
    pub rule: u32,
    /// Path inside its filesystem.
    pub path: Vec<u8>,
}

/// The programs in force.
pub struct Governor {
    kernel: Kernel,
    ring: EventRing,
    repeats: RepeatCounters,
    /// Slots and images given out; both are numbered alike.
    given: u32,
    lost: u64,
    /// Images in force, by slot.
    images: BTreeMap<u32, CompiledImage>,
}

impl Governor {
    /// Loads and attaches.
    pub fn start() -> Result<Self> {
        let mut kernel = Kernel::start(&Options { pin_dir: PathBuf::from(PINS), cgroup: GOVERNED }).context("start the kernel side")?;
        let (ring, repeats) = kernel.take_ring().context("take the ring")?;
        Ok(Self { kernel, ring, repeats, given: 0, lost: 0, images: BTreeMap::new() })
    }

    /// Lets a cgroup be governed by a policy.
    pub fn govern(&mut self, cgroup: u64, manifest: Manifest, ports: (u16, u16)) -> Result<u32> {
        let image = self.compile(manifest.policy(ports)?)?;
        self.put_in_force(cgroup, &image)
    }

    /// The image of a manifest's text.
    pub fn compile_text(&mut self, text: &str) -> Result<CompiledImage> {
        self.compile(rules::policy(text)?)
    }

    fn compile(&mut self, policy: Policy) -> Result<CompiledImage> {
        self.given += 1;
        let resolved = resolve(&policy, &Host::default()).context("resolve the manifest")?;
        compile(&policy, &resolved, self.given, self.kernel.hash_key(), 1).context("compile the manifest")
    }

    /// Lets a cgroup be governed by an image; the slot has the image's number.
    pub fn put_in_force(&mut self, cgroup: u64, image: &CompiledImage) -> Result<u32> {
        let index = image.index;
        self.kernel.install(image).context("install the image")?;
        self.kernel.set_agent(index, AgentState { flags: agent_flag::ACTIVE, image: index })?;
        self.kernel.bind_cgroup(cgroup, index)?;
        self.images.insert(index, image.clone());
        Ok(index)
    }

    /// Puts the same policy in force anew: what the one before had judged is not known to it.
    pub fn renew(&mut self, index: u32) -> Result<()> {
        let image = self.images.get(&index).context("no image in force")?;
        self.kernel.install(image).context("install the image anew")
    }

    /// Lets it go again.
    pub fn release(&mut self, cgroup: u64, index: u32) -> Result<()> {
        self.images.remove(&index);
        self.kernel.unbind_cgroup(cgroup)?;
        self.kernel.set_agent(index, AgentState::default())?;
        self.kernel.remove_image(index).context("remove the image")
    }

    /// Reads the ring empty, and the counters of what repeats. A record that was lost is an error: what it cost was
    /// not measured.
    pub fn records(&mut self) -> Result<Records> {
        let mut records = Records::default();
        self.drain(|header, _| {
            *records.by_kind.entry((header.kind, header.verdict)).or_default() += 1;
            Some(())
        })?;
        for (kind, verdict, count) in self.repeated()? {
            *records.by_kind.entry((kind, verdict)).or_default() += count;
        }
        Ok(records)
    }

    /// What was counted instead of recorded. The counters are given back: nobody governed runs between two batches, and
    /// the next one is to begin like this one.
    fn repeated(&mut self) -> Result<Vec<(u16, u8, u64)>> {
        let counters: Vec<_> = self.repeats.each().collect();
        for (place, counter) in &counters {
            self.repeats.hide(&counter.key)?;
            self.repeats.give_back(*place);
        }
        Ok(counters.iter().map(|(_, counter)| (counter.key.kind, counter.key.verdict, counter.count)).collect())
    }

    /// Reads the ring empty: what its records say about files.
    pub fn opened(&mut self) -> Result<Vec<Opened>> {
        let mut opened = Vec::new();
        self.drain(|header, rest| {
            if header.kind == kind::FILE {
                let (body, bytes) = FileBody::read_from_prefix(rest).ok()?;
                let path = bytes.get(..usize::try_from(body.path_len).ok()?)?.to_vec();
                opened.push(Opened { verdict: header.verdict, reason: header.reason, rule: header.rule, path });
            }
            Some(())
        })?;
        if self.repeated()?.iter().any(|(_, _, count)| *count > 0) {
            bail!("an open was counted and not recorded");
        }
        Ok(opened)
    }

    /// Hands over every record; nothing comes back for one that is shorter than it says.
    fn drain(&mut self, mut take: impl FnMut(&EventHeader, &[u8]) -> Option<()>) -> Result<()> {
        let mut odd = 0;
        self.ring.drain(usize::MAX, |bytes| {
            let whole = EventHeader::read_from_prefix(bytes).ok().and_then(|(header, rest)| take(&header, rest));
            odd += u32::from(whole.is_none());
        });
        if odd > 0 {
            bail!("{odd} records were shorter than they say");
        }
        let lost: u64 = self.kernel.counters()?.iter().filter(|(counter, _)| counter.is_loss()).map(|(_, count)| count).sum();
        if lost != self.lost {
            bail!("{} records were lost", lost - self.lost);
        }
        Ok(())
    }

    /// Names of the programs in force.
    pub fn programs(&self) -> Vec<&'static str> {
        let hooks = self.kernel.hooks();
        hooks.iter().filter(|hook| hook.state == HookState::Attached).map(|hook| hook.name).collect()
    }

    /// Takes one program out of force; the others stay.
    pub fn detach(&self, program: &str) -> Result<()> {
        let left = programs_in_kernel()?.saturating_sub(1);
        let pin = PathBuf::from(PINS).join("links").join(program);
        fs::remove_file(&pin).with_context(|| format!("remove {}", pin.display()))?;
        settle(left)
    }

    /// Takes everything out of force.
    pub fn end(self) -> Result<()> {
        let left = programs_in_kernel()?.saturating_sub(self.programs().len());
        self.kernel.detach_all().context("detach the kernel side")?;
        settle(left)
    }
}

/// Waits until the kernel has no more programs than that: it detaches in the background, one grace
/// period of all tasks for each hook, and until then every call still pays for the trampoline.
fn settle(left: usize) -> Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_secs(600);
    let mut waited = Duration::ZERO;
    while programs_in_kernel()? > left {
        if waited > LIMIT {
            bail!("the kernel still has programs {} s after they were detached", LIMIT.as_secs());
        }
        // A machine whose time is counted in instructions sleeps in no time.
        thread::sleep(STEP);
        waited += STEP;
    }
    Ok(())
}

fn programs_in_kernel() -> Result<usize> {
    let output = Command::new("bpftool").args(["prog", "list"]).output().context("run bpftool")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `38: lsm  name file_ioctl  tag …`; the lines below it are indented.
    Ok(text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).count())
}
