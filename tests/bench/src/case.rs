//! One case: who governs the worker, and what must be seen of it beside the time.

use anyhow::{Context as _, Result, ensure};

use crate::client::Client;
use crate::governor::Governor;
use crate::operation::{Forbidden, Operation};
use crate::rules::Manifest;
use crate::stage::{Cgroup, Stage};

/// Who governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Nobody; Aegis may be attached.
    Nobody,
    /// A manifest.
    Aegis(Manifest),
    /// Landlock, with this many path rules.
    Landlock(usize),
    /// AppArmor, with this many path rules.
    AppArmor(usize),
}

impl By {
    /// Whether what is forbidden is refused.
    const fn refuses(self) -> bool {
        match self {
            Self::Nobody => false,
            Self::Aegis(manifest) => !manifest.audit,
            Self::Landlock(_) | Self::AppArmor(_) => true,
        }
    }
}

/// A row of the table.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Who governs.
    pub by: By,
}

/// What one operation took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Instructions of the best batch, each operation.
    pub best: f64,
    /// The median batch's.
    pub median: f64,
}

/// One row, measured; nothing where a case does not cover an operation.
pub type Row = Vec<(Operation, Option<Cost>)>;

/// Runs cases on the stage.
pub struct Bench<'a> {
    /// What is acted upon.
    pub stage: &'a Stage,
    /// Batches of which the best counts.
    pub batches: usize,
    /// Aegis, when it is attached.
    pub governor: Option<Governor>,
    /// Whether verdicts and records are checked: not where programs are taken out of force.
    pub checked: bool,
}

impl Bench<'_> {
    /// Measures these operations in a case.
    pub fn measure(&mut self, case: &Case, operations: &[Operation]) -> Result<Row> {
        self.row(case, operations).with_context(|| format!("case {}", case.name))
    }

    fn row(&mut self, case: &Case, operations: &[Operation]) -> Result<Row> {
        let profile = match case.by {
            By::AppArmor(rules) => Some(crate::apparmor::load(rules)?),
            _ => None,
        };
        let mut worker = Client::start(self.stage, profile.as_deref())?;
        let cgroup = Cgroup::make(&worker.id().to_string(), matches!(case.by, By::Aegis(_)))?;
        cgroup.enter(worker.id())?;
        let mut knows_ports = true;
        let mut slot = None;
        match case.by {
            By::Landlock(rules) => knows_ports = worker.landlock(rules)?,
            By::Aegis(manifest) => {
                let governor = self.governor.as_mut().context("Aegis is not attached")?;
                slot = Some(governor.govern(cgroup.id()?, manifest, self.stage.ports()?)?);
            }
            By::Nobody | By::AppArmor(_) => {}
        }
        let mut row = Row::new();
        for operation in operations.iter().copied() {
            let covered = match case.by {
                By::Landlock(_) => match operation {
                    Operation::Tcp | Operation::Exchange => knows_ports,
                    Operation::Udp => false,
                    _ => true,
                },
                _ => true,
            };
            let cost = covered.then(|| self.cell(case, operation, &mut worker, slot)).transpose()?;
            row.push((operation, cost));
        }
        worker.end()?;
        if let (Some(slot), Some(governor)) = (slot, self.governor.as_mut()) {
            governor.release(cgroup.id()?, slot)?;
        }
        cgroup.remove()?;
        Ok(row)
    }

    fn cell(
        &mut self,
        case: &Case,
        operation: Operation,
        worker: &mut Client,
        slot: Option<u32>,
    ) -> Result<Cost> {
        let refusal = if self.checked { self.check_refusal(case, operation, worker) } else { Ok(()) };
        refusal.and_then(|()| self.cost(case, operation, worker, slot)).with_context(|| operation.name())
    }

    /// What no rule names is refused, and one record says so; without a governor it goes on.
    fn check_refusal(&mut self, case: &Case, operation: Operation, worker: &mut Client) -> Result<()> {
        self.records()?;
        let forbidden = if matches!(case.by, By::AppArmor(_)) { Forbidden::Family } else { Forbidden::Place };
        let refused = worker.is_refused(operation, forbidden)?;
        ensure!(
            refused == case.by.refuses(),
            "what is forbidden was {}",
            if refused { "refused where nobody governs" } else { "not refused" }
        );
        let (beside, refusals) = match case.by {
            // It goes on, and its record says that it would not have.
            By::Aegis(manifest) if manifest.audit => (if operation.connects() { 2 } else { 1 }, 0),
            By::Aegis(_) => (operation.records_beside_refusal(), 1),
            _ => (0, 0),
        };
        if let Some(seen) = self.records()? {
            ensure!(
                seen.refusals() == refusals && seen.all() == refusals + beside,
                "a refusal leaves {refusals} denials and {beside} other records, but there were: {seen:?}"
            );
        }
        Ok(())
    }

    fn cost(
        &mut self,
        case: &Case,
        operation: Operation,
        worker: &mut Client,
        slot: Option<u32>,
    ) -> Result<Cost> {
        let count = operation.batch();
        let expected = match case.by {
            By::Aegis(manifest) => {
                let least = operation.records(manifest.recorded) * u64::from(count);
                least..=least + operation.records_at_most_beside(manifest.recorded) * u64::from(count)
            }
            _ => 0..=0,
        };
        let _answering = (operation == Operation::Exchange).then(|| self.stage.answer()).transpose()?;
        let mut times = Vec::with_capacity(self.batches);
        // The first one fills caches and does not count.
        for batch in 0..=self.batches {
            if let (true, Some(slot), Some(governor)) = (operation.opens_many(), slot, self.governor.as_mut()) {
                governor.renew(slot)?;
                if operation == Operation::OpenSecond {
                    worker.run(operation, count)?;
                    governor.records()?;
                }
            }
            let time = worker.run(operation, count)?;
            if operation == Operation::Tcp {
                self.stage.accept_all()?;
            }
            if let Some(seen) = self.records()? {
                ensure!(
                    !self.checked || (expected.contains(&seen.all()) && seen.refusals() == 0),
                    "{count} of these leave {expected:?} records, but there were: {seen:?}"
                );
            }
            if batch > 0 {
                times.push(time);
            }
        }
        times.sort_unstable();
        let each = |time: Option<&u64>| -> Result<f64> {
            let time = u32::try_from(*time.context("no batches")?).context("a batch of over four seconds")?;
            Ok(f64::from(time) / f64::from(count))
        };
        Ok(Cost { best: each(times.first())?, median: each(times.get(times.len() / 2))? })
    }

    fn records(&mut self) -> Result<Option<crate::governor::Records>> {
        self.governor.as_mut().map(Governor::records).transpose()
    }
}
