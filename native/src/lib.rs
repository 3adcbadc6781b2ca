//! Re-exports Wasmtime's C API: a static library keeps the `#[no_mangle]` functions of a crate that
//! it uses, and this is the use.

pub use wasmtime_c_api::*;
