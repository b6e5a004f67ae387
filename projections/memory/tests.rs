//! What memory knows is what the operations say, whatever is read in between.

use proptest::prelude::*;

use super::*;
use crate::given::Tables;
use crate::row::{int, text};

static CACHED: Table = Table {
    name: "cached",
    key: 1,
    columns: &[text("id"), int("until"), text("state"), int("gone")],
    keep_until: Some(1),
    residency: Residency::Cached,
};

static RESIDENT: Table = Table {
    name: "resident",
    key: 1,
    columns: &[text("id"), int("until"), text("state"), int("gone")],
    keep_until: None,
    residency: Residency::Resident { gone: 3 },
};

static STORED: Table =
    Table { name: "stored", key: 1, columns: &[text("id")], keep_until: None, residency: Residency::Stored };

fn memory(capacity: usize) -> Memory {
    Memory::new([&CACHED, &RESIDENT, &STORED].into_iter(), capacity)
}

fn row(key: &str, until: i64, state: &str) -> Row {
    vec![key.into(), until.into(), state.into(), 0_i64.into()]
}

/// The same row, as of that it is gone for good.
fn gone(mut row: Row) -> Row {
    row[3] = 1_i64.into();
    row
}

/// What happens to it then.
fn goes(table: &'static Table, key: &str) -> RowOp {
    RowOp::update(table, key, vec![("gone", 1_i64.into())])
}

fn insert(table: &'static Table, key: &str, until: i64) -> RowOp {
    RowOp::insert(table, row(key, until, "new"))
}

fn update(table: &'static Table, key: &str, state: &str) -> RowOp {
    RowOp::update(table, key, vec![("state", state.into())])
}

/// `None` = it must be read.
#[allow(clippy::option_option, reason = "known to be there, known to be absent, not known")]
fn known(memory: &Memory, table: &'static Table, key: &str) -> Option<Option<Row>> {
    match memory.lookup(table, key) {
        Lookup::Known(row) => Some(row.map(|row| row.as_ref().clone())),
        Lookup::MustLoad => None,
    }
}

#[test]
fn a_new_row_is_known_without_being_read() {
    let memory = memory(100);
    memory.apply(1, &insert(&CACHED, "a", 9));
    memory.apply(2, &update(&CACHED, "a", "used"));
    assert_eq!(known(&memory, &CACHED, "a"), Some(Some(row("a", 9, "used"))));
}

#[test]
fn what_is_missing_is_asked_for() {
    let memory = memory(100);
    assert_eq!(known(&memory, &RESIDENT, "a"), None);
    assert_eq!(known(&memory, &CACHED, "a"), None);
    assert_eq!(known(&memory, &STORED, "a"), None);
}

/// Else whoever asks for keys that are none would fill a memory that forgets nothing.
#[test]
fn where_all_is_held_what_is_absent_is_not_remembered() {
    let memory = memory(100);
    assert_eq!(known(&memory, &RESIDENT, "a"), None);
    assert_eq!(memory.loaded(&RESIDENT, "a", None, 5), None);
    assert_eq!(known(&memory, &RESIDENT, "a"), None);
    assert_eq!(
        memory.loaded(&RESIDENT, "a", Some(row("a", 9, "used")), 6).as_deref(),
        Some(&row("a", 9, "used"))
    );
    assert_eq!(known(&memory, &RESIDENT, "a"), Some(Some(row("a", 9, "used"))));
}

#[test]
fn an_absent_row_is_remembered_as_absent() {
    let memory = memory(100);
    assert_eq!(known(&memory, &CACHED, "a"), None);
    assert_eq!(memory.loaded(&CACHED, "a", None, 5), None);
    assert_eq!(known(&memory, &CACHED, "a"), Some(None));
    memory.apply(6, &insert(&CACHED, "a", 9));
    assert_eq!(known(&memory, &CACHED, "a"), Some(Some(row("a", 9, "new"))));
}

#[test]
fn what_a_read_row_has_seen_is_not_applied_again() {
    let memory = memory(100);
    let _ = memory.lookup(&CACHED, "a");
    memory.loaded(&CACHED, "a", Some(row("a", 9, "as of 5")), 5);
    memory.apply(5, &update(&CACHED, "a", "older"));
    assert_eq!(known(&memory, &CACHED, "a"), Some(Some(row("a", 9, "as of 5"))));
    memory.apply(6, &update(&CACHED, "a", "newer"));
    assert_eq!(known(&memory, &CACHED, "a"), Some(Some(row("a", 9, "newer"))));
}

#[test]
fn what_happens_while_a_row_is_read_happens_to_it() {
    let memory = memory(100);
    let _ = memory.lookup(&CACHED, "a");
    memory.apply(5, &update(&CACHED, "a", "seen by the read"));
    memory.apply(6, &update(&CACHED, "a", "revoked"));
    let loaded = memory.loaded(&CACHED, "a", Some(row("a", 9, "seen by the read")), 5);
    assert_eq!(*loaded.unwrap(), row("a", 9, "revoked"));
    assert_eq!(known(&memory, &CACHED, "a"), Some(Some(row("a", 9, "revoked"))));
}

#[test]
fn a_row_that_expires_while_it_is_read_is_gone() {
    let memory = memory(100);
    let _ = memory.lookup(&CACHED, "a");
    memory.apply(6, &RowOp::Expire { table: &CACHED, before: 10 });
    assert_eq!(memory.loaded(&CACHED, "a", Some(row("a", 9, "new")), 5), None);
}

#[test]
fn an_older_read_does_not_undo_what_memory_has_seen() {
    let memory = memory(100);
    let _ = memory.lookup(&CACHED, "a");
    memory.loaded(&CACHED, "a", Some(row("a", 9, "new")), 5);
    memory.apply(6, &update(&CACHED, "a", "revoked"));
    let loaded = memory.loaded(&CACHED, "a", Some(row("a", 9, "new")), 5);
    assert_eq!(*loaded.unwrap(), row("a", 9, "revoked"));
    assert_eq!(known(&memory, &CACHED, "a"), Some(Some(row("a", 9, "revoked"))));
}

#[test]
fn a_read_that_was_given_up_leaves_nothing_behind() {
    let memory = memory(100);
    let _ = memory.lookup(&CACHED, "a");
    memory.apply(6, &update(&CACHED, "a", "kept aside"));
    memory.abandoned(&CACHED, "a");
    assert_eq!(known(&memory, &CACHED, "a"), None);
    assert_eq!(*memory.loaded(&CACHED, "a", Some(row("a", 9, "new")), 5).unwrap(), row("a", 9, "new"));
}

#[test]
fn the_horizon_takes_what_ended_before_it() {
    let memory = memory(100);
    for (position, (key, until)) in [("a", 9), ("b", 10), ("c", 11)].into_iter().enumerate() {
        memory.apply(i64::try_from(position).unwrap() + 1, &insert(&CACHED, key, until));
    }
    memory.apply(4, &RowOp::Expire { table: &CACHED, before: 10 });
    assert_eq!(known(&memory, &CACHED, "a"), None);
    assert!(known(&memory, &CACHED, "b").is_some() && known(&memory, &CACHED, "c").is_some());
}

#[test]
fn the_horizon_finds_what_ended_however_it_came_into_memory() {
    let memory = memory(100);
    memory.apply(1, &insert(&CACHED, "shortened", 50));
    memory.apply(2, &RowOp::Expire { table: &CACHED, before: 10 });
    memory.apply(3, &RowOp::update(&CACHED, "shortened", vec![("until", 20_i64.into())]));
    let _ = memory.lookup(&CACHED, "read");
    memory.loaded(&CACHED, "read", Some(row("read", 15, "new")), 3);
    memory.apply(4, &RowOp::Expire { table: &CACHED, before: 21 });
    assert!(memory.snapshot(&CACHED).is_empty());
    memory.replace(&CACHED, vec![(row("replaced", 25, "new"), 4), (row("later", 26, "new"), 4)], 4);
    memory.apply(5, &RowOp::Expire { table: &CACHED, before: 26 });
    assert_eq!(memory.snapshot(&CACHED), [row("later", 26, "new").into()]);
}

#[test]
fn only_so_many_rows_are_held() {
    let memory = memory(SHARDS);
    for number in 0..200 {
        memory.apply(number + 1, &insert(&CACHED, &format!("key-{number}"), 9));
        memory.apply(number + 1, &insert(&RESIDENT, &format!("key-{number}"), 9));
    }
    assert!(memory.snapshot(&CACHED).len() <= SHARDS);
    assert_eq!(memory.snapshot(&RESIDENT).len(), 200);
    assert!(known(&memory, &CACHED, "key-199").is_some());
}

/// Whoever registers and deletes for ever must not fill a memory that forgets nothing.
#[test]
fn of_what_is_gone_for_good_memory_holds_the_latest() {
    let memory = memory(100);
    let most = GONE_KEPT * SHARDS;
    let (many, mut position) = (4 * most, 0);
    let mut happens = |op: RowOp| {
        position += 1;
        memory.apply(position, &op);
    };
    happens(insert(&RESIDENT, "stays", 9));
    for number in 0..many {
        happens(insert(&RESIDENT, &format!("key-{number}"), 9));
        happens(goes(&RESIDENT, &format!("key-{number}")));
        happens(update(&RESIDENT, &format!("key-{number}"), "spoken of again"));
        assert!(memory.snapshot(&RESIDENT).len() <= most + 1);
    }
    assert!(memory.snapshot(&RESIDENT).len() > most / 2);
    assert_eq!(known(&memory, &RESIDENT, "stays"), Some(Some(row("stays", 9, "new"))));
    let last = format!("key-{}", many - 1);
    assert_eq!(known(&memory, &RESIDENT, &last), Some(Some(gone(row(&last, 9, "spoken of again")))));
    // Who asks for one that has left reads it, and has it for a while; that fills no memory either.
    for number in 0..many {
        let key = format!("key-{number}");
        if known(&memory, &RESIDENT, &key).is_none() {
            memory.loaded(&RESIDENT, &key, Some(gone(row(&key, 9, "read"))), position);
            assert_eq!(known(&memory, &RESIDENT, &key), Some(Some(gone(row(&key, 9, "read")))));
        }
    }
    assert!(memory.snapshot(&RESIDENT).len() <= most + 1);
    assert_eq!(known(&memory, &RESIDENT, "stays"), Some(Some(row("stays", 9, "new"))));
    memory.replace(&RESIDENT, vec![(row("stays", 9, "replaced"), position)], position);
    assert_eq!(memory.snapshot(&RESIDENT), [row("stays", 9, "replaced").into()]);
}

/// They come in pages, and what happened between two of them is in one and not in the other.
#[test]
fn what_a_page_has_seen_is_not_applied_to_its_rows_again() {
    let memory = memory(100);
    memory.replace(&RESIDENT, vec![(row("a", 9, "as of 5"), 5), (row("b", 9, "as of 7"), 7)], 5);
    memory.apply(6, &update(&RESIDENT, "a", "of 6"));
    memory.apply(6, &update(&RESIDENT, "b", "of 6"));
    assert_eq!(known(&memory, &RESIDENT, "a"), Some(Some(row("a", 9, "of 6"))));
    assert_eq!(known(&memory, &RESIDENT, "b"), Some(Some(row("b", 9, "as of 7"))));
    memory.apply(7, &insert(&RESIDENT, "c", 9));
    assert_eq!(known(&memory, &RESIDENT, "c"), Some(Some(row("c", 9, "new"))));
}

#[test]
fn tables_that_are_not_held_are_left_alone() {
    let memory = memory(100);
    memory.apply(1, &RowOp::insert(&STORED, vec!["a".into()]));
    assert!(memory.snapshot(&STORED).is_empty());
    assert_eq!(*memory.loaded(&STORED, "a", Some(vec!["a".into()]), 1).unwrap(), vec!["a".into()]);
}

/// Something that happens on a node.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(usize, i64),
    Expire(i64),
    /// It is gone for good.
    Go(usize),
    /// Somebody asks; a read begins when there is need.
    Ask(usize),
    /// The database answers the read as of now.
    Answer(usize),
    /// The answer arrives.
    Arrive(usize),
}

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    prop_oneof![
        3 => (key.clone(), 0..50_i64).prop_map(|(key, number)| Step::Put(key, number)),
        1 => (0..50_i64).prop_map(Step::Expire),
        1 => key.clone().prop_map(Step::Go),
        3 => key.clone().prop_map(Step::Ask),
        3 => key.clone().prop_map(Step::Answer),
        3 => key.prop_map(Step::Arrive),
    ]
}

/// A node beside the truth.
struct Node {
    table: &'static Table,
    memory: Memory,
    truth: Tables,
    position: i64,
    reads: HashMap<usize, Option<(Option<Row>, i64)>>,
}

impl Node {
    fn happens(&mut self, op: &RowOp) {
        self.position += 1;
        self.truth.apply(op);
        self.memory.apply(self.position, op);
    }

    fn true_row(&self, key: usize) -> Option<Row> {
        self.truth.row(self.table, &[KEYS[key].into()])
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put(key, number) if self.true_row(key).is_none() => {
                self.happens(&insert(self.table, KEYS[key], number));
            }
            Step::Put(key, number) => self.happens(&update(self.table, KEYS[key], &number.to_string())),
            Step::Expire(_) if self.table.keep_until.is_none() => {}
            Step::Expire(before) => self.happens(&RowOp::Expire { table: self.table, before }),
            Step::Go(key) => self.happens(&goes(self.table, KEYS[key])),
            Step::Ask(key) => {
                if !self.reads.contains_key(&key) && known(&self.memory, self.table, KEYS[key]).is_none() {
                    self.reads.insert(key, None);
                }
            }
            Step::Answer(key) => {
                let answer = (self.true_row(key), self.position);
                if let Some(read @ None) = self.reads.get_mut(&key) {
                    *read = Some(answer);
                }
            }
            Step::Arrive(key) => {
                if let Some(Some((row, as_of))) = self.reads.get(&key).cloned() {
                    self.reads.remove(&key);
                    let loaded = self.memory.loaded(self.table, KEYS[key], row, as_of);
                    assert_eq!(loaded.map(|row| row.as_ref().clone()), self.true_row(key));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_remembered_is_what_is_true(
        table in prop_oneof![Just(&CACHED), Just(&RESIDENT)],
        capacity in prop_oneof![Just(SHARDS), Just(1_000)],
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let (memory, truth) = (memory(capacity), Tables::default());
        let mut node = Node { table, memory, truth, position: 0, reads: HashMap::new() };
        for step in steps {
            node.take(step);
            for row in node.memory.snapshot(table) {
                prop_assert_eq!(Some(row.as_ref().clone()), node.truth.row(table, &row[..1]));
            }
        }
        for (index, key) in KEYS.iter().enumerate() {
            if let Some(row) = known(&node.memory, table, key) {
                prop_assert_eq!(row, node.true_row(index));
            }
        }
    }
}

#[test]
fn a_table_tells_whether_it_changed_and_others_do_not_matter() {
    let memory = memory(10);
    memory.apply(1, &insert(&RESIDENT, "a", 10));
    let before = memory.changes(&RESIDENT);
    memory.apply(2, &insert(&CACHED, "a", 10));
    memory.loaded(&RESIDENT, "a", Some(row("a", 10, "new")), 2);
    assert_eq!(memory.changes(&RESIDENT), before);
    memory.apply(3, &update(&RESIDENT, "a", "old"));
    assert!(memory.changes(&RESIDENT) > before);
    let before = memory.changes(&RESIDENT);
    memory.replace(&RESIDENT, Vec::new(), 4);
    assert!(memory.changes(&RESIDENT) > before);
}
