use super::*;

#[test]
fn request_ids_of_another_daemon_are_not_ours() {
    let mut generations = (0..2).map(|_| random() & 0xff_ffff);
    assert_ne!(generations.next(), generations.next(), "two daemons in a row have different names");
}

#[test]
fn seeds_stay_within_what_json_keeps() {
    for _ in 0..100 {
        let seed = random() % SEEDS;
        let through: f64 = serde_json::from_str(&seed.to_string()).unwrap();
        assert_eq!(through as u64, seed);
    }
}
