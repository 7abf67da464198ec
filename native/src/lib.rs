//! The native reader of labelwatch. docs/native.md says what it does and why Python's reader is the definition.
#![forbid(unsafe_code)]

mod clock;
mod parse;
mod reader;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<clock::SiteClock>()?;
    module.add_class::<clock::MinuteIds>()?;
    module.add_class::<reader::Reader>()?;
    module.add("DUPLICATE_MINUTES", clock::DUPLICATE_MINUTES)?;
    module.add("MINUTE_MS", reader::MINUTE_MS)?;
    module.add("AHEAD_MS", reader::AHEAD_MS)?;
    module.add("REFERS_BACK_MS", reader::REFERS_BACK_MS)?;
    module.add("LONGEST_MS", reader::LONGEST_MS)
}
