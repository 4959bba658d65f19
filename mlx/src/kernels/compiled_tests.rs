//! Who asks compiles once, and learns how that ended.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn each_kind_is_compiled_once_and_those_that_fail_are_never_ready() {
    static ASKED: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    fn compile(kind: u32) -> io::Result<()> {
        ASKED.lock().unwrap().push(kind);
        if kind == 2 { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }
    let all = Compiled::new();
    let kinds = [1, 2, 3];
    let until = Instant::now() + Duration::from_mins(1);
    while ASKED.lock().unwrap().len() < kinds.len() || !all.of(1, compile).get() || !all.of(3, compile).get() {
        for kind in kinds {
            all.of(kind, compile);
        }
        assert!(Instant::now() < until, "kernels are not compiled");
        thread::yield_now();
    }
    let mut asked = ASKED.lock().unwrap().clone();
    asked.sort_unstable();
    assert_eq!(asked, kinds);
    assert!(!all.of(2, compile).get());
}
