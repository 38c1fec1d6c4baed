//! Programs that count, a daemon that looks, tells, gives back and dies: in every order that the kernel allows.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;

use super::*;

const PLACES: u32 = 4;
const NAMES: u64 = 3;

/// The kernel side: what programs do in steps, each of which may be interrupted by any of the others.
#[derive(Default)]
struct Model {
    counters: [Repeat; PLACES as usize],
    keys: HashMap<RepeatKey, u32>,
    seq: u64,
    /// Programs that found a counter and have not counted yet: the key they mean, the place, and their number.
    found: Vec<(u64, RepeatKey, u32)>,
    programs: u64,
    /// Who waits for the programs below a number.
    waiting: Vec<(u64, SyncSender<()>)>,
    /// Decisions by name, and those of them that became a record of their own.
    tries: [u64; NAMES as usize],
    records: HashMap<u64, u64>,
}

fn key(name: u64) -> RepeatKey {
    RepeatKey { object: name + 1, ..RepeatKey::default() }
}

impl Model {
    /// The first half of a decision: a counter is found, or the record is written and one is taken.
    fn decide(&mut self, name: u64) {
        self.tries[name as usize] += 1;
        self.programs += 1;
        let key = key(name);
        if let Some(place) = self.keys.get(&key) {
            self.found.push((self.programs, key, *place));
            return;
        }
        self.record(name);
    }

    fn record(&mut self, name: u64) {
        self.seq += 1;
        self.records.insert(self.seq, name);
        let free = self.counters.iter_mut().zip(0..).find(|(counter, _)| counter.taken == 0);
        if let Some((counter, place)) = free
            && !self.keys.contains_key(&key(name))
        {
            assert_eq!(*counter, Repeat::default(), "a counter that is taken is empty");
            *counter = Repeat { taken: 1, seq: self.seq, key: key(name), ..Repeat::default() };
            self.keys.insert(key(name), place);
        }
    }

    /// The second half.
    fn count(&mut self, which: usize) {
        if self.found.is_empty() {
            return;
        }
        let (_, key, place) = self.found.remove(which % self.found.len());
        let counter = &mut self.counters[place as usize];
        assert!(counter.key == key && counter.taken == 1, "it is the counter that was found");
        if counter.count == counter.seen {
            counter.first = self.programs;
        }
        counter.count += 1;
        counter.last = self.programs;
        self.settle();
    }

    fn settle(&mut self) {
        let oldest = self.found.iter().map(|(program, ..)| *program).min().unwrap_or(u64::MAX);
        self.waiting.retain(|(below, tell)| *below >= oldest || tell.send(()).is_err());
    }
}

#[derive(Clone)]
struct Source(Arc<Mutex<Model>>);

impl RepeatSource for Source {
    fn each(&self, visit: &mut dyn FnMut(u32, &Repeat)) {
        let counters = self.0.lock().expect("model").counters;
        counters.iter().zip(0..).filter(|(counter, _)| counter.seq != 0).for_each(|(counter, place)| visit(place, counter));
    }
    fn seen(&mut self, place: u32, count: u64) {
        self.0.lock().expect("model").counters[place as usize].seen = count;
    }
    fn hide(&mut self, key: &RepeatKey) -> bool {
        self.0.lock().expect("model").keys.remove(key);
        true
    }
    fn quiet(&self) -> Receiver<()> {
        let (tell, told) = sync_channel(1);
        let mut model = self.0.lock().expect("model");
        let below = model.programs;
        model.waiting.push((below, tell));
        model.settle();
        told
    }
    fn give_back(&mut self, place: u32) {
        let mut model = self.0.lock().expect("model");
        assert!(!model.found.iter().any(|(_, _, found)| *found == place), "nobody counts in what is given back");
        model.counters[place as usize] = Repeat::default();
    }
}

/// The log: what was handed to it, and how much of that is durable.
#[derive(Default)]
struct Log {
    told: Vec<Repetition>,
    waiting: Vec<SyncSender<()>>,
    durable: usize,
}

impl Log {
    fn take(&mut self, look: Look) {
        self.told.extend(look.repetitions);
        self.waiting.extend(look.durable);
    }
    fn commit(&mut self) {
        self.durable = self.told.len();
        self.waiting.drain(..).for_each(|done| { let _ = done.send(()); });
    }
    /// What the next engine finds.
    fn told_before(&mut self) -> HashMap<u64, u64> {
        self.told.truncate(self.durable);
        self.waiting.clear();
        let mut told = HashMap::new();
        for repetition in &self.told {
            told.insert(repetition.of, repetition.total);
        }
        told
    }
}

#[derive(Clone, Debug)]
enum Step {
    Decide(u64),
    Count(usize),
    Look(bool),
    Advance,
    Commit,
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..NAMES).prop_map(Step::Decide),
        5 => (0usize..8).prop_map(Step::Count),
        4 => any::<bool>().prop_map(Step::Look),
        3 => Just(Step::Advance),
        2 => Just(Step::Commit),
        1 => Just(Step::Die),
    ]
}

fn run(steps: &[Step]) -> (Arc<Mutex<Model>>, Rc<RefCell<Log>>) {
    let model = Arc::new(Mutex::new(Model::default()));
    let log = Rc::new(RefCell::new(Log::default()));
    let engine = |log: &Rc<RefCell<Log>>| {
        Repeats::new(Box::new(Source(model.clone())), log.borrow_mut().told_before())
    };
    let mut repeats = engine(&log);
    for step in steps {
        match step {
            Step::Decide(name) => model.lock().expect("model").decide(*name),
            Step::Count(which) => model.lock().expect("model").count(*which),
            Step::Look(aging) => log.borrow_mut().take(repeats.look(*aging)),
            Step::Advance => {
                if repeats.advance() {
                    log.borrow_mut().take(repeats.look(false));
                }
            }
            Step::Commit => log.borrow_mut().commit(),
            Step::Die => repeats = engine(&log),
        }
    }
    // All programs end, and the log is written to the end.
    while !model.lock().expect("model").found.is_empty() {
        model.lock().expect("model").count(0);
    }
    log.borrow_mut().take(repeats.look(false));
    log.borrow_mut().commit();
    (model, log)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn records_and_told_repetitions_add_up_whatever_runs_beside(steps in proptest::collection::vec(step(), 1..250)) {
        let (model, log) = run(&steps);
        let model = model.lock().expect("model");
        let mut sums = [0; NAMES as usize];
        model.records.values().for_each(|name| sums[*name as usize] += 1);
        let mut totals: HashMap<u64, u64> = HashMap::new();
        for told in &log.borrow().told {
            let name = model.records[&told.of];
            prop_assert_eq!(told.key, key(name), "a repetition is of its own record");
            prop_assert!(told.first <= told.last);
            sums[name as usize] += told.count;
            let total = totals.entry(told.of).or_default();
            *total += told.count;
            prop_assert_eq!(*total, told.total);
        }
        prop_assert_eq!(sums, model.tries);
    }
}

#[test]
fn an_idle_counter_is_given_back_once_its_last_count_is_durable() {
    let model = Arc::new(Mutex::new(Model::default()));
    let mut log = Log::default();
    let mut repeats = Repeats::new(Box::new(Source(model.clone())), HashMap::new());
    let taken = || model.lock().expect("model").counters.iter().map(|c| c.taken).sum::<u64>();
    model.lock().expect("model").decide(0);
    model.lock().expect("model").decide(0);
    for _ in 0..=IDLE {
        log.take(repeats.look(true));
    }
    assert!(model.lock().expect("model").keys.is_empty(), "hidden");
    assert!(!repeats.advance(), "a program has found it and not counted yet");
    model.lock().expect("model").count(0);
    assert!(repeats.advance());
    log.take(repeats.look(false));
    assert_eq!(log.told.iter().map(|t| t.count).sum::<u64>(), 1);
    assert!(!repeats.advance());
    assert_eq!(taken(), 1, "not durable yet");
    log.commit();
    repeats.advance();
    assert_eq!(taken(), 0);
    assert_eq!(repeats.look(false).ended, [(0, 1)]);
}

#[test]
fn one_that_is_counting_is_told_at_each_look_and_stays() {
    let model = Arc::new(Mutex::new(Model::default()));
    let mut repeats = Repeats::new(Box::new(Source(model.clone())), HashMap::new());
    let mut counts = Vec::new();
    model.lock().expect("model").decide(1);
    for round in 1..5 {
        for _ in 0..round {
            model.lock().expect("model").decide(1);
            model.lock().expect("model").count(0);
        }
        let look = repeats.look(true);
        counts.extend(look.repetitions.iter().map(|r| (r.of, r.count, r.total)));
    }
    assert_eq!(counts, [(1, 1, 1), (1, 2, 3), (1, 3, 6), (1, 4, 10)]);
    assert_eq!(model.lock().expect("model").records.len(), 1);
    let times: BTreeSet<u64> = model.lock().expect("model").counters.iter().map(|c| c.last).collect();
    assert_eq!(times.last(), Some(&11));
}
