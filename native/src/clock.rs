//! A site's clock, and the ids of its minutes within the duplicate horizon: the state itself, not a copy.
//!
//! `SiteState` in `streams/engine/horizon.py` is the definition; its native twin keeps these here, and both readers
//! read and write them through it.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// As in `streams/engine/horizon.py`.
pub const DUPLICATE_MINUTES: i64 = 15;

/// An id is a hash already.
#[derive(Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// The ids of a minute: sorted where it is over, a set for what came since; those that no checkpoint has, in order.
#[derive(Default)]
pub struct Ids {
    sealed: Vec<u64>,
    open: HashSet<u64, BuildHasherDefault<Same>>,
    unsaved: Vec<u64>,
}

impl Ids {
    fn contains(&self, id: u64) -> bool {
        self.open.contains(&id) || self.sealed.binary_search(&id).is_ok()
    }

    /// Adds an id; false where it is there.
    pub fn insert(&mut self, id: u64) -> bool {
        if self.sealed.binary_search(&id).is_ok() || !self.open.insert(id) {
            return false;
        }
        self.unsaved.push(id);
        true
    }

    /// Takes back the newest id.
    pub fn take_back(&mut self, id: u64) {
        self.open.remove(&id);
        self.unsaved.pop();
    }

    fn len(&self) -> usize {
        self.sealed.len() + self.open.len()
    }

    fn seal(&mut self) {
        self.sealed.extend(self.open.drain());
        self.sealed.sort_unstable();
        self.sealed.shrink_to_fit();
        self.open = HashSet::default();
    }
}

pub struct Seen {
    pub clock_ms: i64,
    pub minute: i64,
    forgotten_minute: i64,
    minutes: Vec<(i64, Ids)>,
}

impl Seen {
    pub fn ids(&mut self, minute: i64) -> Option<&mut Ids> {
        // The newest minute, which nearly all are of, is the last one.
        self.minutes.iter_mut().rev().find(|(known, _)| *known == minute).map(|(_, ids)| ids)
    }
}

#[pyclass(frozen, module = "streams._native")]
pub struct SiteClock {
    seen: Mutex<Seen>,
}

impl SiteClock {
    /// The state; a reader that panicked takes back what it had changed.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SiteClock {
    #[new]
    fn new() -> Self {
        let seen = Seen { clock_ms: -1, minute: -1, forgotten_minute: -1, minutes: Vec::new() };
        Self { seen: Mutex::new(seen) }
    }

    #[getter]
    fn clock_ms(&self) -> i64 {
        self.seen().clock_ms
    }

    #[setter]
    fn set_clock_ms(&self, ms: i64) {
        self.seen().clock_ms = ms;
    }

    #[getter]
    fn minute(&self) -> i64 {
        self.seen().minute
    }

    #[setter]
    fn set_minute(&self, minute: i64) {
        self.seen().minute = minute;
    }

    #[getter]
    fn forgotten_minute(&self) -> i64 {
        self.seen().forgotten_minute
    }

    #[setter]
    fn set_forgotten_minute(&self, minute: i64) {
        self.seen().forgotten_minute = minute;
    }

    fn __getitem__(this: Bound<'_, Self>, minute: i64) -> PyResult<MinuteIds> {
        let found = this.get().seen().ids(minute).is_some();
        if !found {
            return Err(PyKeyError::new_err(minute));
        }
        Ok(MinuteIds { clock: this.unbind(), minute })
    }

    /// The ids of a minute that has none yet.
    fn open_minute(this: Bound<'_, Self>, minute: i64) -> MinuteIds {
        this.get().seen().minutes.push((minute, Ids::default()));
        MinuteIds { clock: this.unbind(), minute }
    }

    /// Drops the minutes that leave the horizon when its newest one is `minute`.
    fn drop_before(&self, minute: i64) {
        self.seen().minutes.retain(|(old, _)| *old > minute - DUPLICATE_MINUTES);
    }

    /// Drops a minute; how many ids it had.
    fn forget(&self, minute: i64) -> usize {
        let mut seen = self.seen();
        let forgotten = seen.ids(minute).map_or(0, |ids| ids.len());
        seen.minutes.retain(|(old, _)| *old != minute);
        forgotten
    }

    /// Takes a minute's ids from a checkpoint.
    fn hold(&self, minute: i64, ids: Vec<u64>) {
        let mut seen = self.seen();
        let mut held = Ids { open: ids.into_iter().collect(), ..Ids::default() };
        if minute < seen.minute {
            held.seal();
        }
        seen.minutes.push((minute, held));
    }

    /// Minute to how many ids it has.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (minute, ids) in &self.seen().minutes {
            counts.set_item(minute, ids.len())?;
        }
        Ok(counts)
    }

    /// Minute to its ids since the last call, 8 bytes each; seals minutes that are over where that is due.
    fn fresh<'py>(&self, py: Python<'py>, new_share: usize) -> PyResult<Bound<'py, PyDict>> {
        let fresh = PyDict::new(py);
        let mut seen = self.seen();
        let newest = seen.minute;
        for (minute, ids) in &mut seen.minutes {
            let unsaved = std::mem::take(&mut ids.unsaved);
            if !unsaved.is_empty() {
                let bytes: Vec<u8> = unsaved.iter().flat_map(|id| id.to_ne_bytes()).collect();
                fresh.set_item(*minute, PyBytes::new(py, &bytes))?;
            }
            let is_due = if ids.sealed.is_empty() {
                *minute < newest && unsaved.len() * new_share <= ids.len()
            } else {
                ids.open.len() * new_share > ids.sealed.len()
            };
            if is_due && !ids.open.is_empty() {
                ids.seal();
            }
        }
        Ok(fresh)
    }
}

/// The ids of one minute, as Python's loop asks for them.
#[pyclass(frozen, module = "streams._native")]
pub struct MinuteIds {
    clock: Py<SiteClock>,
    minute: i64,
}

#[pymethods]
impl MinuteIds {
    fn __contains__(&self, id: u64) -> bool {
        self.clock.get().seen().ids(self.minute).is_some_and(|ids| ids.contains(id))
    }

    fn __setitem__(&self, id: u64, _none: Option<bool>) {
        if let Some(ids) = self.clock.get().seen().ids(self.minute) {
            ids.insert(id);
        }
    }

    fn __len__(&self) -> usize {
        self.clock.get().seen().ids(self.minute).map_or(0, |ids| ids.len())
    }
}
