//! Rows by key become what sinks read: a row a key, arranged by unit as a group's rows are.
//!
//! ```text
//! S = 10          change              out
//! tick  7         a: x +1
//! tick 10         b: y +1             a x 10 +1   b y 10 +1     before S there is nothing
//! tick 12         a: x -1, z +1       a x 12 -1   a z 12 +1
//! ```
//!
//! Nothing of it is saved but when each row changed last: a run that goes on has the same rows once every tick up to the one that it goes on from
//! is done, and they count as there before the run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use differential_dataflow::consolidation::consolidate;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent, TraceWriter};
use differential_dataflow::trace::{Description, Span, Trace};
use headwater_clocks::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::{Antichain, Stamp};
use timely::scheduling::Activator;

use super::changed::{self, Changed};
use super::rows::{Bytes, Change, Keyed};
use crate::changes::{Changes, Keys};
use crate::collection::{BEFORE, Changelog, Contents, Newest, Readable, Reset, RowBatch, RowSpine, RowTrace};
use crate::group::rows::{Row, Rows};
use crate::group::saved::SavedRow;
use crate::id::CheckpointNumber;
use crate::key_codec::KeyCodec;
use crate::keys::{self, Interner};
use crate::value::{Datum, Kind, Values};

/// When the rows of a collection begin to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// All that there is by this tick is told at it, as rows that come.
    At(Tick),
    /// What there is once every tick up to this one is done was told before the run.
    After(Tick),
}

impl Begins {
    /// When what changes at a time is told.
    fn told_at(self, time: Tick) -> Tick {
        match self {
            Begins::At(tick) => time.max(tick),
            Begins::After(floor) if time <= floor => BEFORE,
            Begins::After(_) => time,
        }
    }

    /// The time by which the first rows are known.
    fn tick(self) -> Tick {
        let (Begins::At(tick) | Begins::After(tick)) = self;
        tick
    }
}

/// When rows changed last is wanted for a checkpoint: its number, and its tick.
pub type Wanted = Box<dyn Fn() -> Option<(CheckpointNumber, Tick)>>;
/// Is given it.
pub type Save = Box<dyn FnMut(CheckpointNumber, &RecordBatch)>;

/// The rows of a collection on one worker.
pub struct Published {
    codec: KeyCodec,
    schema: SchemaRef,
    values: Opener,
    begins: Begins,
    changed: Changed,
    keys: Interner,
    rows: Rows,
    room: usize,
    /// Units whose row went.
    gone: Vec<u32>,
    readers: usize,
    busy: usize,
    reset: Option<Reset>,
}

/// Bytes of keys that are gone and are not worth moving the others.
const FREED_KEY_BYTES: usize = 64 << 10;

impl Published {
    /// `schema`: of the changes (see `changes`), of which the first `keys` columns are the key's; `changed`: of rows that were told before the
    /// run, when they changed last; `reset`: changelogs begin anew.
    ///
    /// # Errors
    /// Columns of a type that no row can have.
    pub fn new(
        schema: SchemaRef,
        keys: usize,
        (begins, changed): (Begins, Changed),
        reset: Option<Reset>,
    ) -> Result<Published, ArrowError> {
        let fields = schema.fields();
        let types: Vec<DataType> = fields[..fields.len() - 2].iter().map(|field| field.data_type().clone()).collect();
        Ok(Published {
            codec: KeyCodec::new(&types[..keys])?,
            values: Opener::new(&types[keys..])?,
            schema,
            begins,
            changed,
            keys: Interner::new(FREED_KEY_BYTES),
            rows: Rows::default(),
            room: 0,
            gone: vec![],
            readers: 0,
            busy: 0,
            reset,
        })
    }

    /// A reader for changelogs.
    pub fn changelog(&self) -> Changelog {
        Changelog::new(self.no_changes(), self.reset)
    }

    /// A reader for stores: see [`Newest`].
    pub fn newest(&self, from: Tick, skip_refresh: bool) -> Newest {
        Newest::new(self.no_changes(), false, from, skip_refresh)
    }

    /// A reader for what is built on its rows.
    pub fn contents(&self) -> Contents {
        Contents::new(self.no_changes())
    }

    /// How many rows there are; and how many came, went or became another, ever.
    pub fn counts(&self) -> (u64, u64) {
        (self.rows.stored, self.rows.changes)
    }

    fn no_changes(&self) -> Changes {
        Changes::new(self.schema.clone(), self.codec.types().len())
    }

    /// Does what changes at some ticks, in their order. The rows that come are opened together: there are many ticks, and few rows in each.
    fn ticks(&mut self, mut ticks: Vec<(Tick, Vec<Change>)>) {
        ticks.iter_mut().for_each(|(_, changes)| consolidate(changes));
        let coming = ticks.iter().flat_map(|(_, changes)| changes).filter(|(_, diff)| *diff > 0);
        let opened = self.values.open(coming.map(|((_, row), _)| row.as_slice()).collect());
        let mut next = 0;
        for (tick, changes) in &ticks {
            self.tick(*tick, changes, || {
                next += 1;
                opened.row(next - 1)
            });
        }
    }

    /// Does what changes at a tick. `next`: the next row that comes.
    fn tick(&mut self, tick: Tick, changes: &[Change], mut next: impl FnMut() -> Vec<Datum>) {
        for of_key in changes.chunk_by(|a, b| a.0.0 == b.0.0) {
            let key = &of_key[0].0.0;
            let mut come = of_key.iter().filter(|(_, diff)| *diff > 0);
            let row = come.next().map(|(_, diff)| {
                assert!(*diff == 1, "{diff} equal rows of a key, which has one: {:?}", self.schema);
                next()
            });
            assert!(come.next().is_none(), "two rows of a key, which has one: {:?}", self.schema);
            self.turn(key, row, tick);
        }
        self.rows.settle();
        if tick == BEFORE {
            self.changed = Changed::default();
        }
    }

    /// A key has this row from a tick on.
    fn turn(&mut self, key: &[u8], row: Option<Vec<Datum>>, tick: Tick) {
        let unit = self.keys.intern(key);
        if unit as usize >= self.room {
            self.room = (unit as usize + 1).next_power_of_two().max(1024);
            self.rows.grow(self.room);
        }
        match row {
            Some(values) if tick == BEFORE => {
                let changed_at = self.changed.at(key).unwrap_or(self.begins.tick());
                self.rows.load(unit, unit, SavedRow { bounds: None, stored: true, changed_at }, values);
            }
            Some(values) => self.rows.publish(unit, Some(Row { key: unit, values: &values, stored: true }), tick),
            None => {
                self.rows.publish(unit, None, tick);
                self.gone.push(unit);
            }
        }
    }

    /// Gives back the numbers of keys whose row went, behind all who read.
    fn give_back(&mut self) {
        if self.busy > 0 {
            return;
        }
        self.gone.sort_unstable();
        self.gone.dedup();
        for unit in self.gone.drain(..).filter(|unit| self.rows.get(*unit).is_none()) {
            self.keys.free(unit);
        }
    }

    /// When each row changed last.
    fn save(&self) -> RecordBatch {
        changed::batch(self.keys.numbers().filter_map(|unit| Some((self.keys.key(unit), self.rows.get(unit)?.at))))
    }
}

impl Readable for Published {
    fn keys(&self) -> Keys<'_> {
        Keys { codec: &self.codec, numbers: &self.keys }
    }

    fn add_reader(&mut self) {
        self.readers += 1;
    }

    fn is_read(&mut self) {
        self.busy -= 1;
    }
}

/// Publishes rows, each with its key, of which there is at most one at any tick. What it returns wakes it: to be done when a checkpoint is wanted.
pub fn publish<'scope>(
    rows: Keyed<'scope>,
    state: Rc<RefCell<Published>>,
    (wanted, mut save): (Wanted, Save),
) -> (Arranged<'scope, RowTrace>, Activator) {
    let scope = rows.inner.scope();
    let workers = scope.peers();
    let mut builder = OperatorBuilder::new("published".to_owned(), scope);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    let pact =
        Exchange::new(move |((key, _), ..): &((Bytes, Bytes), Tick, isize)| keys::owner(keys::hash(key), workers));
    let mut input = builder.new_input(rows.inner, pact);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Span<Tick, RowBatch>>>>::from(output);
    let empty = RowSpine::new(info.clone(), None, Some(scope.activator_for(info.address.clone())));
    let (trace, mut writer): (_, TraceWriter<RowSpine>) = TraceAgent::new(empty, info, None);
    builder.build(move |mut capabilities| {
        let mut waiting: BTreeMap<Tick, Vec<Change>> = BTreeMap::new();
        let (mut lower, mut saved) = (BEFORE, CheckpointNumber::NONE);
        move |frontiers| {
            let mut state = state.borrow_mut();
            input.for_each(|_, updates| {
                for (row, time, diff) in updates.drain(..) {
                    waiting.entry(state.begins.told_at(time)).or_default().push((row, diff));
                }
            });
            state.give_back();
            let Some(frontier) = frontiers[0].frontier().first().copied() else {
                capabilities.clear();
                return;
            };
            let Some(capability) = capabilities.first_mut() else { return };
            // What was there before the run is known once every tick up to its beginning is done.
            let begun = frontier > state.begins.tick();
            if !begun && matches!(state.begins, Begins::After(_)) {
                return;
            }
            let mut advance = |state: &mut Published, upper: Tick| {
                if begun {
                    let later = waiting.split_off(&upper);
                    state.ticks(std::mem::replace(&mut waiting, later).into_iter().collect());
                }
            };
            if let Some((number, t)) = wanted().filter(|(number, t)| *number > saved && *t < frontier) {
                advance(&mut state, t.just_after());
                save(number, &state.save());
                saved = number;
            }
            advance(&mut state, frontier);
            if frontier > lower {
                let rows = state.rows.take();
                let bounds = [lower, frontier, BEFORE].map(Antichain::from_elem);
                let [first, next, since] = bounds;
                state.busy += if rows.is_some() { state.readers } else { 0 };
                let stamp = rows.iter().map(|_| lower).collect::<Stamp<Tick>>();
                let span = Span::new(Description::new(first, next, since), rows);
                writer.insert(span.clone(), stamp);
                output.activate().session(capability).give(span);
                lower = frontier;
                capability.downgrade(&frontier);
            }
        }
    });
    (Arranged { stream, trace }, activator)
}

/// Opens the columns of rows that are no key.
struct Opener {
    codec: Option<KeyCodec>,
}

/// Each column, with its values; those of lists are opened one by one.
struct Opened(Vec<(ArrayRef, Option<Values>)>);

impl Opener {
    fn new(types: &[DataType]) -> Result<Opener, ArrowError> {
        Ok(Opener { codec: if types.is_empty() { None } else { Some(KeyCodec::new(types)?) } })
    }

    fn open(&self, rows: Vec<&[u8]>) -> Opened {
        let Some(codec) = self.codec.as_ref().filter(|_| !rows.is_empty()) else { return Opened(vec![]) };
        let columns = codec.decode(rows.into_iter()).expect("rows of this codec");
        Opened(columns.into_iter().map(|column| (column.clone(), values(&column))).collect())
    }
}

fn values(column: &ArrayRef) -> Option<Values> {
    Kind::of(column.data_type()).map(|_| Values::open(column))
}

impl Opened {
    fn row(&self, at: usize) -> Vec<Datum> {
        self.0.iter().map(|(column, values)| datum(column, values, at)).collect()
    }
}

fn datum(column: &ArrayRef, opened: &Option<Values>, at: usize) -> Datum {
    if column.is_null(at) {
        return Datum::Null;
    }
    match opened {
        Some(Values::Words(words)) => Datum::Word(words[at]),
        Some(Values::Decimals(decimals)) => Datum::decimal(decimals.value(at)),
        Some(Values::Texts(texts)) => Datum::Text(texts.value(at).into()),
        None => {
            let items = column.as_list::<i32>().value(at);
            let of_items = values(&items);
            Datum::List((0..items.len()).map(|item| datum(&items, &of_items, item)).collect())
        }
    }
}
