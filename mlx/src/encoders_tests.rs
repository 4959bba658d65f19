//! The table is the one that the daemon believes.

use super::ENCODERS;

#[test]
fn the_daemon_knows_these_encoders() {
    assert_eq!(ENCODERS.map(|(name, _)| name).as_slice(), engine::ENCODERS);
}
