//! The native reader of labelwatch. docs/native.md says what it does and why Python's reader is the definition.
#![forbid(unsafe_code)]

mod batches;
mod clock;
mod parse;
mod reader;

use pyo3::prelude::*;

/// What Python and this module hand each other; `streams/native.py` has the same number, and loads no other.
const INTERFACE: u32 = 3;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<batches::Answer>()?;
    module.add_class::<batches::Batches>()?;
    module.add_class::<batches::Records>()?;
    module.add_class::<clock::SiteClock>()?;
    module.add_class::<clock::MinuteIds>()?;
    module.add_class::<reader::Reader>()?;
    module.add("INTERFACE", INTERFACE)?;
    module.add("DUPLICATE_MINUTES", clock::DUPLICATE_MINUTES)?;
    module.add("MINUTE_MS", reader::MINUTE_MS)?;
    module.add("AHEAD_MS", reader::AHEAD_MS)?;
    module.add("REFERS_BACK_MS", reader::REFERS_BACK_MS)?;
    module.add("LONGEST_MS", reader::LONGEST_MS)
}
