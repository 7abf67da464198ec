//! The loop over records, for labels, reviews and states of which nothing is new.
//!
//! `Intake._read_chunk` in `streams/engine/intake.py` is the definition. This one stops at each record that it is not
//! certain about, before it has changed anything for it; Python decides about that record by its own loop, on the same
//! state and into the same columns, and this one goes on behind it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::batches::{Records, Run};
use crate::clock::SiteClock;
use crate::parse::{self, Event, Kind, Label, Review, Text};

// As in the engine's modules; `tests/native/test_twins.py` compares them.
pub const MINUTE_MS: i64 = 60_000;
pub const AHEAD_MS: i64 = 300_000;
pub const REFERS_BACK_MS: i64 = 90 * 86_400_000;
pub const LONGEST_MS: i64 = 7 * 86_400_000;

#[derive(Default)]
struct Xxh3(u64);

impl Hasher for Xxh3 {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }
    fn write_usize(&mut self, _length: usize) {}
}

/// The values of a run of records, held so that Python cannot free them; none where one is no bytes.
enum Values {
    Fetched(Arc<Run>, Range<usize>),
    Listed(Vec<Option<PyBackedBytes>>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Fetched(_, range) => range.len(),
            Self::Listed(values) => values.len(),
        }
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        match self {
            Self::Fetched(run, range) => run.value(range.start + index),
            Self::Listed(values) => values[index].as_deref(),
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// Text to the number that Python gave it.
type Numbers = HashMap<Box<[u8]>, i64, BuildHasherDefault<Xxh3>>;

/// A site as Python has it, and its names as far as they were met here.
struct Site {
    clock: Py<SiteClock>,
    state: Py<PyAny>,
    seed: u64,
    agents: Numbers,
    qas: Numbers,
    reviewers: Numbers,
    works: Numbers,
    verdicts: Numbers,
    states: Numbers,
}

/// The columns, in the order of `NativeReader.gather` in `streams/engine/native_reader.py`.
#[derive(Clone, Copy)]
enum Column {
    LabelPerson,
    LabelKind,
    LabelAt,
    LabelMs,
    LabelClass,
    SkipPerson,
    SkipKind,
    SkipAt,
    ReviewPerson,
    ReviewKind,
    ReviewAt,
    ReviewCorrect,
    ReviewTrait,
    ReviewReviewer,
    MadeReviewer,
    MadeAt,
    MadeMs,
    MadeFound,
    MadeAudit,
    DelayKind,
    DelayMs,
    StatePerson,
    StateKind,
    StateAt,
    StateClock,
}
const COLUMNS: usize = Column::StateClock as usize + 1;
/// The first column of each set of parallel ones.
const SETS: [Column; 6] = [
    Column::LabelPerson,
    Column::SkipPerson,
    Column::ReviewPerson,
    Column::MadeReviewer,
    Column::DelayKind,
    Column::StatePerson,
];

/// How things were before a record changed the first of them: what is taken back if this code fails in the midst of it.
#[derive(Default)]
struct Before {
    site: usize,
    clock_ms: i64,
    /// The minute and id that it has taken.
    taken: Option<(i64, u64)>,
    duplicates: u64,
    rows: [usize; SETS.len()],
    ids: usize,
    mistakes: usize,
    errors: usize,
}

/// What a run of records comes to at one of them.
enum Step {
    /// It is in the columns, or a repeat.
    Done,
    /// Python must decide.
    Rare,
    /// Its site or a name was not met here yet; Python may know it.
    New,
}

#[derive(Default)]
struct State {
    sites: Vec<Site>,
    site_ids: HashMap<Box<[u8]>, usize, BuildHasherDefault<Xxh3>>,
    classes: Numbers,
    traits: Numbers,
    columns: [Vec<i64>; COLUMNS],
    duplicates: u64,
    /// The reviews since the last stop: the record of each, and its task where it found an error.
    ids: Vec<(usize, Range<usize>)>,
    mistakes: Vec<(usize, usize, Range<usize>)>,
    /// And the errors found, by the number of what was found, with the time that windows count.
    errors: Vec<(usize, i64)>,
    /// What was found: the class, and its values but for the time, as Python has admitted it.
    found: Vec<Py<PyTuple>>,
    found_ids: Numbers,
    key: Vec<u8>,
    /// Of the record at hand, once it changes something.
    before: Option<Before>,
    /// For tests: the record at which this code fails, and after how many changes.
    fails_at: Option<(usize, usize)>,
    changes_left: Option<usize>,
}

/// Texts as one key: none of them has a control character.
fn join(key: &mut Vec<u8>, texts: &[Text]) {
    key.clear();
    for text in texts {
        key.extend_from_slice(text.unwrap_or(b"\x00"));
        key.push(b'\x1f');
    }
}

fn verdict_key(key: &mut Vec<u8>, event: &Event, review: &Review) {
    join(
        key,
        &[
            event.project_id,
            event.market,
            event.sop_version,
            review.role,
            review.source,
            review.sampling,
            review.purpose,
        ],
    );
    key.extend_from_slice(&review.review_round.unwrap_or(0).to_ne_bytes());
}

fn error_key(key: &mut Vec<u8>, kind: i64, review: &Review) {
    join(key, &[review.error_type, review.severity]);
    key.extend_from_slice(&kind.to_ne_bytes());
    key.push(u8::from(review.correct));
}

impl<'a> Review<'a> {
    /// The error by which it is told apart: what a review of correct work says of it is a remark.
    fn error(&self) -> Text<'a> {
        if self.correct {
            None
        } else {
            self.error_type
        }
    }

    /// As `why_not_windowed` in `streams/engine/headline.py`, of an agent's work.
    fn is_windowed(&self) -> bool {
        self.role != Some(b"qa")
            && matches!(self.purpose, None | Some(b"production"))
            && matches!(self.review_round, None | Some(1))
    }
}

/// The first record behind `at` that this reader understands.
fn rare_until(records: &Values, at: usize) -> usize {
    let is_clear = |&index: &usize| records.get(index).is_some_and(|bytes| parse::parse(bytes).is_some());
    if is_clear(&at) {
        return at + 1;
    }
    (at..records.len()).find(is_clear).unwrap_or(records.len())
}

fn place(bytes: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
    start..start + part.len()
}

impl State {
    fn push(&mut self, column: Column, value: i64) {
        self.may_fail();
        self.columns[column as usize].push(value);
    }

    /// Panics where a test has asked for it.
    fn may_fail(&mut self) {
        if let Some(left) = &mut self.changes_left {
            assert!(*left > 0, "as a test asked for");
            *left -= 1;
        }
    }

    /// Notes what a record that has just moved its site's clock, and taken an id, is about to change.
    fn begin_changing(&mut self, site: usize, clock_ms: i64, taken: Option<(i64, u64)>) {
        self.before = Some(Before {
            site,
            clock_ms,
            taken,
            duplicates: self.duplicates,
            rows: SETS.map(|first| self.columns[first as usize].len()),
            ids: self.ids.len(),
            mistakes: self.mistakes.len(),
            errors: self.errors.len(),
        });
    }

    /// Takes back what the record at hand has changed.
    fn take_back(&mut self) {
        let Some(before) = self.before.take() else { return };
        let mut seen = self.sites[before.site].clock.get().seen();
        seen.clock_ms = before.clock_ms;
        if let Some((minute, id)) = before.taken {
            if let Some(ids) = seen.ids(minute) {
                ids.take_back(id);
            }
        }
        self.duplicates = before.duplicates;
        let ends = SETS.iter().skip(1).map(|&next| next as usize).chain([COLUMNS]);
        for ((first, end), rows) in SETS.iter().zip(ends).zip(before.rows) {
            for column in &mut self.columns[*first as usize..end] {
                column.truncate(rows);
            }
        }
        self.ids.truncate(before.ids);
        self.mistakes.truncate(before.mistakes);
        self.errors.truncate(before.errors);
    }

    fn step(&mut self, index: usize, bytes: &[u8], suspicious_ms: i64) -> Step {
        let Some(event) = parse::parse(bytes) else { return Step::Rare };
        if event.at > suspicious_ms {
            return Step::Rare;
        }
        let Some(&number) = self.site_ids.get(event.site_id) else { return Step::New };
        match &event.kind {
            Kind::Label(label) => self.label(number, &event, label),
            Kind::Review(review) => self.review(number, index, bytes, &event, review),
            Kind::State(state) => self.state(number, &event, state),
        }
    }

    /// Moves the site's clock and takes the id; `None` where Python must, having changed nothing then.
    fn is_new(&mut self, number: usize, event: &Event) -> Option<bool> {
        let site = &self.sites[number];
        let id = xxh3_64_with_seed(event.event_id, site.seed) ^ event.at as u64;
        let minute = event.at / MINUTE_MS;
        let mut seen = site.clock.get().seen();
        if minute > seen.minute {
            return None;
        }
        let clock_ms = seen.clock_ms;
        let is_new = seen.ids(minute)?.insert(id);
        seen.clock_ms = clock_ms.max(event.at);
        drop(seen);
        self.begin_changing(number, clock_ms, is_new.then_some((minute, id)));
        self.may_fail();
        self.duplicates += u64::from(!is_new);
        Some(is_new)
    }

    fn label(&mut self, number: usize, event: &Event, label: &Label) -> Step {
        let site = &self.sites[number];
        let Some(&person) = site.agents.get(event.agent_id) else { return Step::New };
        join(&mut self.key, &[event.project_id, event.market, event.sop_version]);
        let Some(&kind) = site.works.get(self.key.as_slice()) else { return Step::New };
        let class = if label.skipped {
            0
        } else {
            match self.classes.get(label.label.unwrap_or(b"\x00")) {
                Some(&class) => class,
                None => return Step::New,
            }
        };
        match self.is_new(number, event) {
            None => return Step::Rare,
            Some(false) => return Step::Done,
            Some(true) => {}
        }
        if label.skipped {
            self.push(Column::SkipPerson, person);
            self.push(Column::SkipKind, kind);
            self.push(Column::SkipAt, event.at);
        } else {
            self.push(Column::LabelPerson, person);
            self.push(Column::LabelKind, kind);
            self.push(Column::LabelAt, event.at);
            self.push(Column::LabelMs, label.handle_ms.map_or(-1, |ms| ms.min(LONGEST_MS)));
            self.push(Column::LabelClass, class);
        }
        Step::Done
    }

    fn review(&mut self, number: usize, index: usize, bytes: &[u8], event: &Event, review: &Review) -> Step {
        let delay_ms = review.labeled_at.map(|labeled_at| event.at - labeled_at);
        if delay_ms.is_some_and(|ms| !(-AHEAD_MS..=REFERS_BACK_MS).contains(&ms)) {
            return Step::Rare;
        }
        let site = &self.sites[number];
        let is_audit = review.role == Some(b"qa");
        let people = if is_audit { &site.qas } else { &site.agents };
        let Some(&person) = people.get(event.agent_id) else { return Step::New };
        verdict_key(&mut self.key, event, review);
        let Some(&kind) = site.verdicts.get(self.key.as_slice()) else { return Step::New };
        let reviewer = match review.reviewer_id {
            None => -1,
            Some(id) => match site.reviewers.get(id) {
                Some(&reviewer) => reviewer,
                None => return Step::New,
            },
        };
        join(&mut self.key, &[review.label, review.stratum, review.error()]);
        let Some(&trait_id) = self.traits.get(self.key.as_slice()) else { return Step::New };
        let mut found = None;
        if review.error_type.is_some() {
            error_key(&mut self.key, kind, review);
            found = self.found_ids.get(self.key.as_slice()).copied();
            if found.is_none() {
                return Step::New;
            }
        }
        match self.is_new(number, event) {
            None => return Step::Rare,
            Some(false) => return Step::Done,
            Some(true) => {}
        }
        if !review.correct {
            let reviews = self.columns[Column::ReviewAt as usize].len();
            self.may_fail();
            self.mistakes.push((reviews, index, place(bytes, review.task_id)));
        }
        if let Some(found) = found {
            self.may_fail();
            self.errors.push((found as usize, if review.is_windowed() { event.at } else { -1 }));
        }
        self.may_fail();
        self.ids.push((index, place(bytes, event.event_id)));
        self.push(Column::ReviewPerson, person);
        self.push(Column::ReviewKind, kind);
        self.push(Column::ReviewAt, event.at);
        self.push(Column::ReviewCorrect, i64::from(review.correct));
        self.push(Column::ReviewTrait, trait_id);
        self.push(Column::ReviewReviewer, reviewer);
        if reviewer >= 0 {
            self.push(Column::MadeReviewer, reviewer);
            self.push(Column::MadeAt, event.at);
            self.push(Column::MadeMs, review.review_ms.map_or(-1, |ms| ms.min(LONGEST_MS)));
            self.push(Column::MadeFound, i64::from(!review.correct));
            self.push(Column::MadeAudit, i64::from(is_audit));
        }
        if let Some(ms) = delay_ms {
            self.push(Column::DelayKind, kind);
            self.push(Column::DelayMs, ms.max(0));
        }
        Step::Done
    }

    fn state(&mut self, number: usize, event: &Event, state: &[u8]) -> Step {
        let site = &self.sites[number];
        let Some(&person) = site.agents.get(event.agent_id) else { return Step::New };
        join(&mut self.key, &[event.project_id, Some(state)]);
        let Some(&kind) = site.states.get(self.key.as_slice()) else { return Step::New };
        match self.is_new(number, event) {
            None => return Step::Rare,
            Some(false) => return Step::Done,
            Some(true) => {}
        }
        let clock_ms = self.sites[number].clock.get().seen().clock_ms;
        self.push(Column::StatePerson, person);
        self.push(Column::StateKind, kind);
        self.push(Column::StateAt, event.at);
        self.push(Column::StateClock, clock_ms);
        Step::Done
    }

    /// Goes on until a record is not done: its number, and what it comes to.
    fn run(&mut self, records: &Values, at: &mut usize, suspicious_ms: i64) -> Step {
        while *at < records.len() {
            self.before = None;
            self.changes_left = self.fails_at.filter(|(record, _)| record == at).map(|(_, changes)| changes);
            self.may_fail();
            let step = match records.get(*at) {
                Some(bytes) => self.step(*at, bytes, suspicious_ms),
                None => Step::Rare,
            };
            if !matches!(step, Step::Done) {
                return step;
            }
            *at += 1;
        }
        Step::Done
    }

    /// Learns from Python what a record names; false where Python does not know one of them.
    fn learn(&mut self, py: Python, record: Option<&[u8]>, names: &Bound<PyAny>) -> PyResult<bool> {
        let Some(bytes) = record else { return Ok(false) };
        let Some(event) = parse::parse(bytes) else { return Ok(false) };
        let text = |text: &[u8]| -> PyResult<Py<PyString>> { Ok(PyString::from_bytes(py, text)?.unbind()) };
        let option = |value: Text| value.map(text).transpose();
        let number = match self.site_ids.get(event.site_id) {
            Some(&number) => number,
            None => {
                let named = names.getattr("_named")?.cast_into::<PyDict>()?;
                let Some(state) = named.get_item(text(event.site_id)?)? else { return Ok(false) };
                let clock = state.getattr("native")?.cast_into::<SiteClock>()?.unbind();
                self.sites.push(Site {
                    clock,
                    state: state.unbind(),
                    seed: xxh3_64(event.site_id),
                    agents: Numbers::default(),
                    qas: Numbers::default(),
                    reviewers: Numbers::default(),
                    works: Numbers::default(),
                    verdicts: Numbers::default(),
                    states: Numbers::default(),
                });
                self.site_ids.insert(event.site_id.into(), self.sites.len() - 1);
                self.sites.len() - 1
            }
        };
        let site = &mut self.sites[number];
        let state = site.state.bind(py);
        let known = |of: &Bound<PyAny>, keys: &[Py<PyAny>]| -> PyResult<Option<i64>> {
            let mut found = of.clone();
            for key in keys {
                match found.cast::<PyDict>()?.get_item(key)? {
                    Some(next) => found = next,
                    None => return Ok(None),
                }
            }
            found.extract().map(Some)
        };
        let any =
            |value: Option<Py<PyString>>| -> Py<PyAny> { value.map_or_else(|| py.None(), |text| text.into_any()) };
        let work = || -> PyResult<[Py<PyAny>; 3]> {
            Ok([any(option(event.project_id)?), any(option(event.market)?), any(option(event.sop_version)?)])
        };
        match &event.kind {
            Kind::State(entered) => {
                let Some(person) = known(&state.getattr("agents")?, &[text(event.agent_id)?.into_any()])? else {
                    return Ok(false);
                };
                site.agents.insert(event.agent_id.into(), person);
                let names = [any(option(event.project_id)?), text(entered)?.into_any()];
                let Some(kind) = known(&state.getattr("states")?, &names)? else { return Ok(false) };
                join(&mut self.key, &[event.project_id, Some(entered)]);
                site.states.insert(self.key.as_slice().into(), kind);
            }
            Kind::Label(label) => {
                let Some(person) = known(&state.getattr("agents")?, &[text(event.agent_id)?.into_any()])? else {
                    return Ok(false);
                };
                site.agents.insert(event.agent_id.into(), person);
                let Some(kind) = known(&state.getattr("works")?, &work()?)? else { return Ok(false) };
                join(&mut self.key, &[event.project_id, event.market, event.sop_version]);
                site.works.insert(self.key.as_slice().into(), kind);
                if !label.skipped {
                    let Some(class) = known(&names.getattr("class_ids")?, &[any(option(label.label)?)])? else {
                        return Ok(false);
                    };
                    self.classes.insert(label.label.unwrap_or(b"\x00").into(), class);
                }
            }
            Kind::Review(review) => {
                let is_audit = review.role == Some(b"qa");
                let (people, of) = if is_audit { (&mut site.qas, "qas") } else { (&mut site.agents, "agents") };
                let Some(person) = known(&state.getattr(of)?, &[text(event.agent_id)?.into_any()])? else {
                    return Ok(false);
                };
                people.insert(event.agent_id.into(), person);
                let given = (
                    option(review.role)?,
                    option(review.source)?,
                    option(review.sampling)?,
                    option(review.purpose)?,
                    review.review_round,
                );
                let [project, market, sop] = work()?;
                let given = given.into_pyobject(py)?.into_any().unbind();
                let Some(kind) = known(&state.getattr("verdicts")?, &[project, market, sop, given])? else {
                    return Ok(false);
                };
                verdict_key(&mut self.key, &event, review);
                site.verdicts.insert(self.key.as_slice().into(), kind);
                if let Some(id) = review.reviewer_id {
                    let Some(reviewer) = known(&state.getattr("reviewers")?, &[text(id)?.into_any()])? else {
                        return Ok(false);
                    };
                    site.reviewers.insert(id.into(), reviewer);
                }
                let says = [any(option(review.label)?), any(option(review.stratum)?), any(option(review.error())?)];
                let Some(number) = known(&names.getattr("trait_ids")?, &says)? else { return Ok(false) };
                join(&mut self.key, &[review.label, review.stratum, review.error()]);
                self.traits.insert(self.key.as_slice().into(), number);
                if let Some(error_type) = review.error_type {
                    let said = (text(error_type)?, option(review.severity)?, review.correct);
                    let found = names.call_method1("admitted_error", (kind, said.0, said.1, said.2))?;
                    let Ok(found) = found.cast_into::<PyTuple>() else { return Ok(false) };
                    error_key(&mut self.key, kind, review);
                    self.found_ids.insert(self.key.as_slice().into(), self.found.len() as i64);
                    self.found.push(found.unbind());
                }
            }
        }
        Ok(true)
    }

    /// Hands the reviews' ids and mistakes since the last stop over to Python's lists; all is made before any is changed.
    fn hand_over(&mut self, py: Python, records: &Values, batch: &Bound<PyAny>) -> PyResult<()> {
        let text = |index: usize, part: &Range<usize>| -> PyResult<Bound<PyString>> {
            let bytes = records.get(index).map_or(&[][..], |bytes| &bytes[part.clone()]);
            PyString::from_bytes(py, bytes)
        };
        let (ids, mistakes, errors) = (PyList::empty(py), PyDict::new(py), PyList::empty(py));
        for (index, part) in &self.ids {
            ids.append(text(*index, part)?)?;
        }
        for (review, index, part) in &self.mistakes {
            mistakes.set_item(review, text(*index, part)?)?;
        }
        for (found, windowed_at) in &self.errors {
            let (kind, known) = self.found[*found].bind(py).extract::<(Bound<PyAny>, Bound<PyTuple>)>()?;
            let fields = known.add(PyTuple::new(py, [windowed_at])?)?;
            errors.append(kind.call1(fields.cast_into::<PyTuple>()?)?)?;
        }
        batch.getattr("ids")?.call_method1("extend", (ids,))?;
        batch.getattr("mistakes")?.call_method1("update", (mistakes,))?;
        batch.getattr("errors")?.call_method1("extend", (errors,))?;
        self.ids.clear();
        self.mistakes.clear();
        self.errors.clear();
        Ok(())
    }
}

#[pyclass(module = "streams._native")]
#[derive(Default)]
pub struct Reader {
    records: Values,
    state: State,
}

#[pymethods]
impl Reader {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Takes the values of records; those that are no bytes are Python's.
    fn load(&mut self, records: &Bound<PyAny>) -> PyResult<()> {
        if let Ok(fetched) = records.cast::<Records>() {
            let fetched = fetched.get();
            self.records = Values::Fetched(fetched.run.clone(), fetched.range.clone());
            return Ok(());
        }
        let value = pyo3::intern!(records.py(), "value");
        let mut values = Vec::new();
        for record in records.try_iter()? {
            let found = record?.getattr(value)?;
            values.push(found.cast::<PyBytes>().ok().map(|bytes| bytes.clone().into()));
        }
        self.records = Values::Listed(values);
        Ok(())
    }

    /// Lets the values go.
    fn unload(&mut self) {
        self.records = Values::default();
    }

    /// Forgets the numbers of names: Python has begun to number anew.
    fn forget_names(&mut self) {
        for site in &mut self.state.sites {
            for people in [&mut site.agents, &mut site.qas, &mut site.reviewers] {
                people.clear();
            }
            for kinds in [&mut site.works, &mut site.verdicts, &mut site.states] {
                kinds.clear();
            }
        }
        self.state.classes.clear();
        self.state.traits.clear();
        self.state.found_ids.clear();
        self.state.found.clear();
    }

    /// Goes on at a record: the stretch of records that Python must decide about, empty at the end, and whether this code
    /// has failed at the first of them, a defect. Nothing that it has done about that one is left then.
    fn run(
        &mut self,
        py: Python,
        at: usize,
        suspicious_ms: i64,
        names: &Bound<PyAny>,
        batch: &Bound<PyAny>,
    ) -> PyResult<(usize, usize, bool)> {
        let (state, records) = (&mut self.state, &self.records);
        let mut at = at;
        loop {
            let ran = py.detach(|| catch_unwind(AssertUnwindSafe(|| state.run(records, &mut at, suspicious_ms))));
            let is_rare = match ran {
                Ok(Step::Done) => Ok(false),
                Ok(Step::Rare) => Ok(true),
                Ok(Step::New) => match catch_unwind(AssertUnwindSafe(|| state.learn(py, records.get(at), names))) {
                    Ok(Ok(is_known)) => Ok(!is_known),
                    Ok(Err(error)) if !error.is_instance_of::<PyException>(py) => return Err(error),
                    Ok(Err(error)) => {
                        error.print(py);
                        Err(())
                    }
                    Err(_) => Err(()),
                },
                Err(_) => Err(()),
            };
            if is_rare.is_err() {
                state.take_back();
            }
            if is_rare != Ok(false) || at >= records.len() {
                state.hand_over(py, records, batch)?;
                let stop = if is_rare == Ok(true) { rare_until(records, at) } else { at };
                return Ok((at, stop, is_rare.is_err()));
            }
        }
    }

    /// For tests: panics at a record of each run, after it has changed so many things; `None`: no more.
    #[pyo3(signature = (at, changes = 0))]
    fn fail_at(&mut self, at: Option<usize>, changes: usize) {
        self.state.fails_at = at.map(|at| (at, changes));
    }

    /// Repeats found since the last call.
    fn duplicates(&mut self) -> u64 {
        std::mem::take(&mut self.state.duplicates)
    }

    fn append(&mut self, column: usize, value: i64) -> PyResult<()> {
        let found = self.state.columns.get_mut(column);
        found.ok_or_else(|| PyValueError::new_err("no such column"))?.push(value);
        Ok(())
    }

    fn length(&self, column: usize) -> usize {
        self.state.columns.get(column).map_or(0, Vec::len)
    }

    /// A column's values, 8 bytes each, which it then begins anew.
    fn take<'py>(&mut self, py: Python<'py>, column: usize) -> PyResult<Bound<'py, PyBytes>> {
        let values = self.state.columns.get_mut(column).ok_or_else(|| PyValueError::new_err("no such column"))?;
        let size = std::mem::size_of::<i64>();
        let bytes = PyBytes::new_with(py, values.len() * size, |bytes| {
            for (place, value) in bytes.chunks_exact_mut(size).zip(values.iter()) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
            Ok(())
        })?;
        values.clear();
        Ok(bytes)
    }

    /// Columns there are, for the test that compares them with Python's.
    #[classattr]
    const COLUMNS: usize = COLUMNS;
}
