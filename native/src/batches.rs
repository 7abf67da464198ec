//! Producers' batches as the broker sent them: finds where each record is, and makes no object of one before it is asked
//! for.
//!
//! aiokafka's parser is the definition. Only batches of record format 2 are taken, and of these whatever is not certain
//! to be the same there is left to it: a wrong checksum, an end of a transaction, a length that does not fit. Codecs are
//! aiokafka's too, one call for each batch.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use pyo3::exceptions::{PyException, PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PySlice};

/// Bytes of the offset and the length before each batch, and of the head of one of format 2 with them.
const OVERHEAD: usize = 12;
const HEAD: usize = 61;
const CHECKED_FROM: usize = 21;
const FORMAT: u8 = 2;
/// None, gzip, snappy, lz4, zstd.
const CODECS: u16 = 5;
/// A varint of 64 bits has at most this many bytes.
const VARINT_MAX: usize = 10;

const CODEC: u16 = 0b111;
const APPEND_TIME: u16 = 1 << 3;
const TRANSACTIONAL: u16 = 1 << 4;
const CONTROL: u16 = 1 << 5;

type Shared = Arc<PyBackedBytes>;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

struct Head {
    base_offset: i64,
    next_offset: i64,
    attributes: u16,
    checksum: u32,
    first_ms: i64,
    last_ms: i64,
    records: i32,
}

impl Head {
    /// `None` where the batch is for aiokafka.
    fn of(batch: &[u8]) -> Option<Self> {
        (batch.len() >= HEAD && batch[16] == FORMAT).then_some(())?;
        let base_offset = i64::from_be_bytes(number(batch, 0)?);
        let last_delta = i32::from_be_bytes(number(batch, 23)?);
        let head = Self {
            base_offset,
            next_offset: base_offset.checked_add(i64::from(last_delta))?.checked_add(1)?,
            attributes: u16::from_be_bytes(number(batch, 21)?),
            checksum: u32::from_be_bytes(number(batch, 17)?),
            first_ms: i64::from_be_bytes(number(batch, 27)?),
            last_ms: i64::from_be_bytes(number(batch, 35)?),
            records: i32::from_be_bytes(number(batch, 57)?),
        };
        (head.attributes & CODEC < CODECS).then_some(head)
    }
}

/// Part of a run's bytes; a length of `u32::MAX` stands for none.
#[derive(Clone, Copy)]
struct Part {
    at: u32,
    length: u32,
}

/// Where a record is.
#[derive(Clone, Copy)]
struct Place {
    offset: i64,
    timestamp: i64,
    bytes: u32,
    key: Part,
    value: Part,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn varint(&mut self) -> Option<i64> {
        // Most are of one byte.
        if let Some(&byte @ 0..=0x7f) = self.bytes.get(self.at) {
            self.at += 1;
            return Some(i64::from(byte >> 1) ^ -i64::from(byte & 1));
        }
        let mut value = 0u64;
        for index in 0..VARINT_MAX {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                // Of the tenth byte only one bit is left.
                (index + 1 < VARINT_MAX || byte <= 1).then_some(())?;
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn part(&mut self) -> Option<Part> {
        let length = self.varint()?;
        let at = self.at as u32;
        if length < 0 {
            return Some(Part { at, length: u32::MAX });
        }
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        (end <= self.bytes.len()).then_some(())?;
        self.at = end;
        Some(Part { at, length: length as u32 })
    }

    /// A record that begins here, of a batch of this head.
    fn record(&mut self, head: &Head, bytes: u32) -> Option<Place> {
        let length = self.varint()?;
        let start = self.at;
        self.varint()?; // its attributes, which mean nothing
        let delta_ms = self.varint()?;
        let timestamp =
            if head.attributes & APPEND_TIME == 0 { head.first_ms.checked_add(delta_ms)? } else { head.last_ms };
        let offset = head.base_offset.checked_add(self.varint()?)?;
        let (key, value) = (self.part()?, self.part()?);
        let headers = self.varint()?;
        (headers >= 0).then_some(())?;
        for _ in 0..headers {
            let name = self.part()?;
            (name.length != u32::MAX).then_some(())?;
            std::str::from_utf8(&self.bytes[name.at as usize..self.at]).ok()?;
            self.part()?;
        }
        (i64::try_from(self.at - start) == Ok(length)).then_some(())?;
        Some(Place { offset, timestamp, bytes, key, value })
    }

    /// The records of a batch, but for those before an offset; false where aiokafka must read it.
    fn records(&mut self, head: &Head, begins: i64, bytes: u32, places: &mut Vec<Place>) -> bool {
        let before = places.len();
        let mut last = i64::MIN;
        for _ in 0..head.records {
            match self.record(head, bytes) {
                Some(place) if place.offset > last => {
                    last = place.offset;
                    if place.offset >= begins {
                        places.push(place);
                    }
                }
                _ => {
                    places.truncate(before);
                    return false;
                }
            }
        }
        if self.at != self.bytes.len() || head.records < 0 {
            places.truncate(before);
            return false;
        }
        true
    }
}

/// Records in the order of the log, and the bytes in which they are.
pub struct Run {
    bytes: Vec<Shared>,
    places: Vec<Place>,
}

impl Run {
    fn part(&self, place: &Place, part: Part) -> Option<&[u8]> {
        let at = part.at as usize;
        (part.length != u32::MAX).then(|| &self.bytes[place.bytes as usize][at..at + part.length as usize])
    }

    pub fn value(&self, index: usize) -> Option<&[u8]> {
        let place = &self.places[index];
        self.part(place, place.value)
    }
}

/// Consecutive records; slices of them share their bytes.
#[pyclass(frozen, sequence, module = "streams._native")]
pub struct Records {
    pub run: Arc<Run>,
    pub range: Range<usize>,
}

#[pymethods]
impl Records {
    fn __len__(&self) -> usize {
        self.range.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let length = self.range.len() as isize;
        if let Ok(slice) = index.cast::<PySlice>() {
            let found = slice.indices(length)?;
            if found.step != 1 {
                return Err(PyValueError::new_err("records are consecutive: no steps"));
            }
            let start = self.range.start + found.start as usize;
            let range = start..start + found.slicelength;
            return Ok(Bound::new(py, Self { run: self.run.clone(), range })?.into_any());
        }
        let index: isize = index.extract().map_err(|_| PyTypeError::new_err("an index is a whole number"))?;
        let index = if index < 0 { index + length } else { index };
        if !(0..length).contains(&index) {
            return Err(PyIndexError::new_err("no such record"));
        }
        let record = Record { run: self.run.clone(), index: self.range.start + index as usize };
        Ok(Bound::new(py, record)?.into_any())
    }

    /// The smallest timestamp; none where there is no record.
    fn smallest_timestamp(&self) -> Option<i64> {
        self.run.places[self.range.clone()].iter().map(|place| place.timestamp).min()
    }
}

/// A record that somebody looks at.
#[pyclass(frozen, module = "streams._native")]
pub struct Record {
    run: Arc<Run>,
    index: usize,
}

impl Record {
    fn place(&self) -> &Place {
        &self.run.places[self.index]
    }
}

#[pymethods]
impl Record {
    #[getter]
    fn offset(&self) -> i64 {
        self.place().offset
    }

    #[getter]
    fn timestamp(&self) -> i64 {
        self.place().timestamp
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.run.part(self.place(), self.place().key).map(|bytes| PyBytes::new(py, bytes))
    }

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.run.value(self.index).map(|bytes| PyBytes::new(py, bytes))
    }
}

/// One partition's part of a broker's answer, and how far it is read.
#[pyclass(module = "streams._native")]
pub struct Answer {
    bytes: Shared,
    at: usize,
    /// The batch that `next` gave.
    last: Range<usize>,
}

impl Answer {
    fn length(&self) -> Option<i32> {
        number(&self.bytes, self.at + 8).map(i32::from_be_bytes)
    }

    /// The next batch, where it is whole.
    fn batch(&self) -> Option<Range<usize>> {
        let end = self.at + OVERHEAD + usize::try_from(self.length()?).ok()?;
        (end <= self.bytes.len()).then_some(self.at..end)
    }
}

#[pymethods]
impl Answer {
    #[new]
    fn new(bytes: PyBackedBytes) -> Self {
        Self { bytes: Arc::new(bytes), at: 0, last: 0..0 }
    }

    /// Whether another batch is there; true for one of a negative length, which aiokafka reports.
    fn has_next(&self) -> bool {
        self.batch().is_some() || self.length().is_some_and(|length| length < 0)
    }

    /// The bytes of the next batch, which is then read; of one that is broken or cut off, what aiokafka needs to say so.
    fn next<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        if let Some(batch) = self.batch() {
            self.at = batch.end;
            self.last = batch;
            return PyBytes::new(py, &self.bytes[self.last.clone()]);
        }
        PyBytes::new(py, &self.bytes[self.at..self.bytes.len().min(self.at + OVERHEAD)])
    }
}

struct Raw {
    bytes: Shared,
    range: Range<usize>,
}

impl Raw {
    fn batch(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

/// Batches of a partition that are not parsed yet, in the order of the log.
#[pyclass(module = "streams._native")]
#[derive(Default)]
pub struct Batches {
    waiting: VecDeque<Raw>,
    /// Of the batch at which the last run ended: its bytes, and the records that are left.
    rest: Option<(Shared, Vec<Place>)>,
    /// The first offset of a batch at which this code has failed, a defect; from there on all is aiokafka's.
    failed_at: Option<i64>,
    has_failed: bool,
    /// For tests: how many batches are read before one fails.
    fails_after: Option<usize>,
}

impl Batches {
    fn failed(&mut self, batch: &[u8]) {
        self.has_failed = true;
        self.failed_at = number(batch, 0).map(i64::from_be_bytes);
    }

    /// The records of a batch; false where aiokafka must read it.
    fn read(&mut self, py: Python, raw: &Raw, begins: i64, decompress: &Bound<PyAny>, run: &mut Run) -> PyResult<bool> {
        if self.has_failed {
            return Ok(false);
        }
        let Some(head) = Head::of(raw.batch()) else { return Ok(false) };
        let (mut bytes, mut from, mut end) = (raw.bytes.clone(), raw.range.start + HEAD, raw.range.end);
        let codec = head.attributes & CODEC;
        if codec != 0 {
            match decompress.call1((codec, PyBytes::new(py, &bytes[from..end]))).and_then(|all| Ok(all.extract()?)) {
                Ok(all) => {
                    bytes = Arc::new(all);
                    (from, end) = (0, bytes.len());
                }
                // aiokafka will meet the same.
                Err(error) if error.is_instance_of::<PyException>(py) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if u32::try_from(end).is_err() {
            return Ok(false);
        }
        let (number, kept) = (run.bytes.len() as u32, run.places.len());
        let fails = self.fails_after == Some(0);
        self.fails_after = self.fails_after.map(|left| left.saturating_sub(1));
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            let mut cursor = Cursor { bytes: &bytes[..end], at: from };
            let is_read = cursor.records(&head, begins, number, &mut run.places);
            assert!(!fails, "as a test asked for");
            is_read
        }));
        let is_read = parsed.unwrap_or_else(|_| {
            self.failed(raw.batch());
            false
        });
        if is_read {
            run.bytes.push(bytes);
        } else {
            run.places.truncate(kept);
        }
        Ok(is_read)
    }
}

#[pymethods]
impl Batches {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Takes batches out of an answer until one ends at an offset or behind it. Those that aiokafka must look at stay: the
    /// ends of transactions, those that fail their checksum, and, where transactions were rolled back, their batches.
    /// Where the last one taken ends, none where none was.
    fn take(&mut self, answer: &mut Answer, until: i64, rolled_back: bool) -> Option<i64> {
        let left_out = CONTROL | if rolled_back { TRANSACTIONAL } else { 0 };
        let mut ends = None;
        while ends.is_none_or(|ends| ends < until) && !self.has_failed {
            let Some(range) = answer.batch() else { break };
            let raw = Raw { bytes: answer.bytes.clone(), range };
            let checked = catch_unwind(AssertUnwindSafe(|| {
                let head = Head::of(raw.batch()).filter(|head| head.attributes & left_out == 0)?;
                (crc32c::crc32c(&raw.batch()[CHECKED_FROM..]) == head.checksum).then_some(head.next_offset)
            }));
            match checked {
                Ok(Some(next_offset)) => ends = Some(next_offset),
                Ok(None) => break,
                Err(_) => {
                    self.failed(raw.batch());
                    break;
                }
            }
            answer.at = raw.range.end;
            self.waiting.push_back(raw);
        }
        ends
    }

    /// Takes the batch that `Answer.next` gave last; false where aiokafka must read it.
    fn add(&mut self, answer: &Answer) -> bool {
        let raw = Raw { bytes: answer.bytes.clone(), range: answer.last.clone() };
        let is_ours = !self.has_failed && Head::of(raw.batch()).is_some();
        if is_ours {
            self.waiting.push_back(raw);
        }
        is_ours
    }

    /// The next records from an offset on, so many or, at the end, fewer; and the bytes of the batch behind them, if
    /// aiokafka must read that.
    fn run<'py>(
        &mut self,
        py: Python<'py>,
        length: usize,
        begins: i64,
        decompress: &Bound<'py, PyAny>,
    ) -> PyResult<(Records, Option<Bound<'py, PyBytes>>)> {
        let mut run = Run { bytes: Vec::new(), places: Vec::new() };
        if let Some((bytes, places)) = self.rest.take() {
            run.bytes.push(bytes);
            run.places = places;
        }
        let mut left = None;
        while run.places.len() < length {
            let Some(raw) = self.waiting.pop_front() else { break };
            if !self.read(py, &raw, begins, decompress, &mut run)? {
                left = Some(PyBytes::new(py, raw.batch()));
                break;
            }
        }
        if run.places.len() > length {
            let mut places = run.places.split_off(length);
            // All of the last batch: a run ends before another one is read.
            places.iter_mut().for_each(|place| place.bytes = 0);
            self.rest = run.bytes.last().cloned().map(|bytes| (bytes, places));
        }
        let range = 0..run.places.len();
        Ok((Records { run: Arc::new(run), range }, left))
    }

    /// The first offset of the batch at which this code has failed since the last call.
    fn failure(&mut self) -> Option<i64> {
        self.failed_at.take()
    }

    /// For tests: panics at a batch, once so many are read.
    fn fail_after(&mut self, batches: usize) {
        self.fails_after = Some(batches);
    }
}
