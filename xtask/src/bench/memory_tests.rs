use super::*;

#[test]
fn a_field_is_found_by_its_whole_name() {
    let rollup = "Rss:  900 kB\nPss:  700 kB\nPss_Dirty:  1 kB\nPrivate_Clean:  20 kB\nPrivate_Dirty: 3 kB\n";
    assert_eq!((field(rollup, "Pss"), field(rollup, "Private_Dirty")), (Some(700 * 1024), Some(3 * 1024)));
    assert_eq!((field(rollup, "Pss_"), field("", "Pss")), (None, None));
}

#[test]
fn this_process_has_memory() {
    let memory = of(std::process::id()).unwrap();
    assert!(memory.resident > 100_000, "{memory:?}");
    assert!(memory.private <= Some(memory.resident), "{memory:?}");
}
