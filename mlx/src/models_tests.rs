//! The table is the one that the daemon believes.

use super::MODELS;

#[test]
fn the_daemon_knows_these_architectures() {
    assert_eq!(MODELS.map(|(name, _)| name).as_slice(), engine::ARCHITECTURES);
}
