#![no_main]

use libfuzzer_sys::fuzz_target;

mod quiet;

fuzz_target!(init: quiet::expected_panics(), |data: &[u8]| peat_mesh_sim::fuzz::peers(data));
