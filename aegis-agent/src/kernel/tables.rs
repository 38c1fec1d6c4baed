//! The maps that a policy fills. Keys and values go in as their bytes, so that aya need not know
//! the types.

use aegis_common::{
    argument::{ArgumentKey, ArgumentStep},
    counter::{COUNTERS, Counter},
    environment::{EVERY_IMAGE, KNOWN, VariablePrefix, known_bit},
    glob::{GlobEntry, GlobKey, GlobSet, GlobTable},
    net::{Learned, NameKey, NetPrefix, PlaceKey, PortRules, Question, ResolverKey, view},
    path::{ContentKey, ContentRule, InodeKey, InodeRule, PathKey, PathRule, PinKey},
    policy::{Image, SyscallKey, engine, image_flag},
};
use aegis_policy::CompiledImage;
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, lpm_trie::{Key, LpmTrie}},
};
use zerocopy::{Immutable, IntoBytes};

use super::KernelError;

type Hash<const K: usize, const V: usize> = HashMap<MapData, [u8; K], [u8; V]>;

const PATH_KEY: usize = size_of::<PathKey>();
const PATH_RULE: usize = size_of::<PathRule>();
const GLOB_TABLE: usize = size_of::<GlobTable>();
const GLOB_KEY: usize = size_of::<GlobKey>();
const GLOB_ENTRY: usize = size_of::<GlobEntry>();
const GLOB_SET: usize = size_of::<GlobSet>();
const INODE_KEY: usize = size_of::<InodeKey>();
const INODE_RULE: usize = size_of::<InodeRule>();
const CONTENT_KEY: usize = size_of::<ContentKey>();
const CONTENT_RULE: usize = size_of::<ContentRule>();
const PIN_KEY: usize = size_of::<PinKey>();
const ARGUMENT_KEY: usize = size_of::<ArgumentKey>();
const ARGUMENT_STEP: usize = size_of::<ArgumentStep>();
const VARIABLE: usize = size_of::<VariablePrefix>();
const SYSCALL_KEY: usize = size_of::<SyscallKey>();
const PREFIX: usize = size_of::<NetPrefix>();
const PORTS: usize = size_of::<PortRules>();
const NAME: usize = size_of::<NameKey>();
const RESOLVER: usize = size_of::<ResolverKey>();
const PLACE: usize = size_of::<PlaceKey>();
const QUESTION: usize = size_of::<Question>();
const LEARNED: usize = size_of::<Learned>();
const IMAGE: usize = size_of::<Image>();

/// The open maps.
pub struct Tables {
    cgroups: HashMap<MapData, u64, u32>,
    cut: HashMap<MapData, u64, u32>,
    images: Array<MapData, [u8; IMAGE]>,
    path_rules: Hash<PATH_KEY, PATH_RULE>,
    programs: Hash<PATH_KEY, 4>,
    anchors: Hash<PATH_KEY, 4>,
    glob_tables: Hash<4, GLOB_TABLE>,
    glob_entries: Hash<GLOB_KEY, GLOB_ENTRY>,
    glob_starts: Hash<PATH_KEY, GLOB_SET>,
    inode_rules: Hash<INODE_KEY, INODE_RULE>,
    content_rules: Hash<CONTENT_KEY, CONTENT_RULE>,
    pins: Hash<PIN_KEY, 4>,
    argument_steps: Hash<ARGUMENT_KEY, ARGUMENT_STEP>,
    argument_rules: Hash<ARGUMENT_KEY, 4>,
    variables: LpmTrie<MapData, [u8; VARIABLE], [u8; 4]>,
    syscall_rules: Hash<SYSCALL_KEY, 4>,
    net_rules: LpmTrie<MapData, [u8; PREFIX], [u8; PORTS]>,
    objects: HashMap<MapData, u64, u32>,
    names: Hash<NAME, PORTS>,
    resolvers: Hash<RESOLVER, 4>,
    questions: Hash<PLACE, QUESTION>,
    addresses: Hash<PLACE, LEARNED>,
    counters: Array<MapData, u64>,
    engine: Array<MapData, u64>,
}

/// Takes a map out of the loaded object.
pub fn take<T>(object: &mut Ebpf, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = object.take_map(name).ok_or_else(|| KernelError::Map {
        action: "find",
        map: name,
        detail: "the object has none of that name".into(),
    })?;
    T::try_from(map).map_err(|error| failed("open", name, &error))
}

pub(super) fn failed(action: &'static str, map: &'static str, error: &MapError) -> KernelError {
    KernelError::Map { action, map, detail: error.to_string() }
}

/// The bytes of a wire type; `N` is its size.
fn bytes<const N: usize>(value: &(impl IntoBytes + Immutable)) -> [u8; N] {
    let mut bytes = [0u8; N];
    bytes.copy_from_slice(value.as_bytes());
    bytes
}

impl Tables {
    /// Takes the maps out of the loaded object, of which `engine` was taken before.
    pub fn take(object: &mut Ebpf, engine: Array<MapData, u64>) -> Result<Self, KernelError> {
        let mut tables = Self {
            cgroups: take(object, "CGROUPS")?,
            cut: take(object, "CUT")?,
            images: take(object, "IMAGES")?,
            path_rules: take(object, "PATH_RULES")?,
            anchors: take(object, "ANCHORS")?,
            glob_tables: take(object, "GLOB_TABLES")?,
            glob_entries: take(object, "GLOB_ENTRIES")?,
            glob_starts: take(object, "GLOB_STARTS")?,
            inode_rules: take(object, "INODE_RULES")?,
            content_rules: take(object, "CONTENT_RULES")?,
            pins: take(object, "PINS")?,
            argument_steps: take(object, "ARGUMENT_STEPS")?,
            argument_rules: take(object, "ARGUMENT_RULES")?,
            variables: take(object, "VARIABLES")?,
            programs: take(object, "PROGRAMS")?,
            syscall_rules: take(object, "SYSCALL_RULES")?,
            net_rules: take(object, "NET_RULES")?,
            objects: take(object, "OBJECTS")?,
            names: take(object, "NAMES")?,
            resolvers: take(object, "RESOLVERS")?,
            questions: take(object, "QUESTIONS")?,
            addresses: take(object, "ADDRESSES")?,
            counters: take(object, "COUNTERS")?,
            engine,
        };
        for name in KNOWN {
            let key = VariablePrefix::new(EVERY_IMAGE, format!("{name}=").as_bytes());
            if let (Some((length, key)), Some(bit)) = (key, known_bit(name)) {
                tables.put_variable(length, &key, bit)?;
            }
        }
        Ok(tables)
    }

    fn put_variable(&mut self, length: u32, key: &VariablePrefix, value: u32) -> Result<(), KernelError> {
        self.variables
            .insert(&Key::new(length, bytes(key)), value.to_ne_bytes(), 0)
            .map_err(|error| failed("insert into", "VARIABLES", &error))
    }

    /// Fills an image, valid only once all its rules are in.
    pub fn install(&mut self, image: &CompiledImage) -> Result<(), KernelError> {
        let index = image.index;
        self.set_image(index, &Image::default())?;
        let filled = self.fill(image).and_then(|()| {
            let mut ready = image.image;
            ready.flags |= image_flag::READY;
            ready.serial = self.next_serial()?;
            self.set_image(index, &ready)
        });
        if filled.is_err() {
            // The first error is the one to report; what can't be removed now is removed when the
            // index is used again.
            let _ = self.remove_image(index);
        }
        filled
    }

    fn fill(&mut self, image: &CompiledImage) -> Result<(), KernelError> {
        for (key, rule) in &image.path_rules {
            insert(&mut self.path_rules, "PATH_RULES", bytes(key), bytes(rule))?;
        }
        for (key, flags) in &image.anchors {
            insert(&mut self.anchors, "ANCHORS", bytes(key), flags.to_ne_bytes())?;
        }
        if let Some(table) = &image.globs.table {
            insert(&mut self.glob_tables, "GLOB_TABLES", image.index.to_ne_bytes(), bytes(table.as_ref()))?;
        }
        for (key, entry) in &image.globs.entries {
            insert(&mut self.glob_entries, "GLOB_ENTRIES", bytes(key), bytes(entry))?;
        }
        for (key, positions) in &image.globs.starts {
            insert(&mut self.glob_starts, "GLOB_STARTS", bytes(key), bytes(positions))?;
        }
        for (key, rule) in &image.inode_rules {
            insert(&mut self.inode_rules, "INODE_RULES", bytes(key), bytes(rule))?;
        }
        for (key, rule) in &image.content_rules {
            insert(&mut self.content_rules, "CONTENT_RULES", bytes(key), bytes(rule))?;
        }
        for (key, rule) in &image.pins {
            insert(&mut self.pins, "PINS", bytes(key), rule.to_ne_bytes())?;
        }
        for (key, step) in &image.argument_steps {
            insert(&mut self.argument_steps, "ARGUMENT_STEPS", bytes(key), bytes(step))?;
        }
        for (key, rule) in &image.argument_rules {
            insert(&mut self.argument_rules, "ARGUMENT_RULES", bytes(key), rule.to_ne_bytes())?;
        }
        for (length, key, rule) in &image.variables {
            self.put_variable(*length, key, *rule)?;
        }
        for (key, view) in &image.programs {
            insert(&mut self.programs, "PROGRAMS", bytes(key), view.to_ne_bytes())?;
        }
        for (key, rule) in &image.syscall_rules {
            insert(&mut self.syscall_rules, "SYSCALL_RULES", bytes(key), rule.to_ne_bytes())?;
        }
        for (length, prefix, rules) in &image.net {
            self.net_rules
                .insert(&Key::new(*length, bytes(prefix)), bytes::<PORTS>(rules), 0)
                .map_err(|error| failed("insert into", "NET_RULES", &error))?;
        }
        for (key, rules) in &image.names {
            insert(&mut self.names, "NAMES", bytes(key), bytes(rules))?;
        }
        for key in &image.resolvers {
            insert(&mut self.resolvers, "RESOLVERS", bytes(key), [0; 4])?;
        }
        Ok(())
    }

    /// A number that no image had since the maps were made.
    fn next_serial(&mut self) -> Result<u64, KernelError> {
        let last = self
            .engine
            .get(&engine::IMAGE_SERIAL, 0)
            .map_err(|error| failed("read", "ENGINE", &error))?;
        let next = last + 1;
        self.engine
            .set(engine::IMAGE_SERIAL, next, 0)
            .map_err(|error| failed("change", "ENGINE", &error))?;
        Ok(next)
    }

    fn set_image(&mut self, index: u32, image: &Image) -> Result<(), KernelError> {
        self.images
            .set(index, bytes::<IMAGE>(image), 0)
            .map_err(|error| failed("change", "IMAGES", &error))
    }

    /// Removes an image: invalid first, then its rules.
    pub fn remove_image(&mut self, index: u32) -> Result<(), KernelError> {
        self.set_image(index, &Image::default())?;
        // The image is the first word of every key.
        let own = index.to_ne_bytes();
        remove_where(&mut self.path_rules, "PATH_RULES", |key| key.starts_with(&own))?;
        remove_where(&mut self.anchors, "ANCHORS", |key| key.starts_with(&own))?;
        remove_where(&mut self.glob_tables, "GLOB_TABLES", |key| *key == own)?;
        remove_where(&mut self.glob_entries, "GLOB_ENTRIES", |key| key.starts_with(&own))?;
        remove_where(&mut self.glob_starts, "GLOB_STARTS", |key| key.starts_with(&own))?;
        remove_where(&mut self.inode_rules, "INODE_RULES", |key| key.starts_with(&own))?;
        remove_where(&mut self.content_rules, "CONTENT_RULES", |key| key.starts_with(&own))?;
        remove_where(&mut self.pins, "PINS", |key| key.starts_with(&own))?;
        remove_where(&mut self.argument_steps, "ARGUMENT_STEPS", |key| key.starts_with(&own))?;
        remove_where(&mut self.argument_rules, "ARGUMENT_RULES", |key| key.starts_with(&own))?;
        remove_where(&mut self.programs, "PROGRAMS", |key| key.starts_with(&own))?;
        remove_where(&mut self.syscall_rules, "SYSCALL_RULES", |key| key.starts_with(&own))?;
        remove_where(&mut self.names, "NAMES", |key| key.first_chunk().is_some_and(|word| view::index(u32::from_ne_bytes(*word)) == index))?;
        remove_where(&mut self.resolvers, "RESOLVERS", |key| key.starts_with(&own))?;
        remove_prefixes(&mut self.variables, "VARIABLES", |image| image == index)?;
        remove_prefixes(&mut self.net_rules, "NET_RULES", |image| view::index(image) == index)
    }

    /// What an agent made is nobody's any more.
    pub fn disown_objects(&mut self, slot: u32) -> Result<(), KernelError> {
        let mut own = Vec::new();
        for entry in self.objects.iter() {
            let (address, owner) = entry.map_err(|error| failed("read", "OBJECTS", &error))?;
            if owner == slot {
                own.push(address);
            }
        }
        for address in own {
            ignore_missing(self.objects.remove(&address)).map_err(|error| failed("remove from", "OBJECTS", &error))?;
        }
        Ok(())
    }

    /// Forgets what the agent of a slot has asked and learned.
    pub fn forget_names(&mut self, slot: u32) -> Result<(), KernelError> {
        let own = slot.to_ne_bytes();
        remove_where(&mut self.questions, "QUESTIONS", |key| key.starts_with(&own))?;
        remove_where(&mut self.addresses, "ADDRESSES", |key| key.starts_with(&own))
    }

    /// Lets a slot govern a cgroup.
    pub fn bind_cgroup(&mut self, cgroup: u64, slot: u32) -> Result<(), KernelError> {
        insert(&mut self.cgroups, "CGROUPS", cgroup, slot)
    }

    /// Lets a cgroup go.
    pub fn unbind_cgroup(&mut self, cgroup: u64) -> Result<(), KernelError> {
        ignore_missing(self.cgroups.remove(&cgroup))
            .map_err(|error| failed("remove from", "CGROUPS", &error))
    }

    /// The sockets of a slot's cgroups send nothing more once they are governed no longer.
    pub fn cut(&mut self, slot: u32) -> Result<(), KernelError> {
        for (cgroup, _) in self.cgroups()?.into_iter().filter(|(_, of)| *of == slot) {
            insert(&mut self.cut, "CUT", cgroup, 0)?;
        }
        Ok(())
    }

    /// Every governed cgroup.
    pub fn cgroups(&self) -> Result<Vec<(u64, u32)>, KernelError> {
        self.cgroups
            .iter()
            .collect::<Result<_, _>>()
            .map_err(|error| failed("read", "CGROUPS", &error))
    }

    /// All counters.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, KernelError> {
        const { assert!(Counter::ALL.len() <= COUNTERS as usize) };
        Counter::ALL
            .iter()
            .map(|counter| {
                let value = self
                    .counters
                    .get(&(*counter as u32), 0)
                    .map_err(|error| failed("read", "COUNTERS", &error))?;
                Ok((*counter, value))
            })
            .collect()
    }
}

fn insert<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    name: &'static str,
    key: K,
    value: V,
) -> Result<(), KernelError> {
    map.insert(key, value, 0).map_err(|error| failed("insert into", name, &error))
}

fn remove_where<const K: usize, const V: usize>(
    map: &mut Hash<K, V>,
    name: &'static str,
    ours: impl Fn(&[u8; K]) -> bool,
) -> Result<(), KernelError> {
    let keys: Vec<[u8; K]> = map
        .keys()
        .filter(|key| key.as_ref().map_or(true, &ours))
        .collect::<Result<_, _>>()
        .map_err(|error| failed("read", name, &error))?;
    for key in keys {
        ignore_missing(map.remove(&key)).map_err(|error| failed("remove from", name, &error))?;
    }
    Ok(())
}

/// Removes the prefixes of an image.
fn remove_prefixes<const K: usize, const V: usize>(
    map: &mut LpmTrie<MapData, [u8; K], [u8; V]>,
    name: &'static str,
    ours: impl Fn(u32) -> bool,
) -> Result<(), KernelError> {
    let keys: Vec<_> = map.keys().collect::<Result<_, _>>().map_err(|error| failed("read", name, &error))?;
    for key in keys {
        let data = key.data();
        if data.first_chunk().is_some_and(|image| ours(u32::from_be_bytes(*image))) {
            ignore_missing(map.remove(&key)).map_err(|error| failed("remove from", name, &error))?;
        }
    }
    Ok(())
}

/// A key that is not there needs no removing.
pub(super) fn ignore_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}
