#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| peat_mesh_sim::fuzz::reconciliation(data));
