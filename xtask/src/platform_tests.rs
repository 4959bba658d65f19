use super::*;

#[test]
fn every_platform_has_its_default_backend() {
    for platform in [Platform::LinuxX86, Platform::LinuxArm, Platform::Mac] {
        assert_eq!(Platform::of_triple(platform.triple()).unwrap(), platform);
        platform.check(platform.default_backend()).unwrap();
    }
}

#[test]
fn a_backend_of_another_system_is_refused() {
    assert!(Platform::Mac.check(Backend::Cuda).is_err());
    assert!(Platform::LinuxX86.check(Backend::Metal).is_err());
    assert!(Platform::of_triple("x86_64-pc-windows-msvc").is_err());
}
