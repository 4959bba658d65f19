use super::*;

#[test]
fn waits_grow_to_a_minute_and_a_finished_request_forgets_them() {
    let id = Key { id: protocol::ModelId("a/b".into()), backend: crate::backend::Backend::Mlx };
    let (mut crashes, now) = (Crashes::default(), Instant::now());
    let waits: Vec<u64> = (0..9).map(|_| crashes.note(&id, now).as_secs()).collect();
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(crashes.wait(&id, now + Duration::from_secs(59)), Some(Duration::from_secs(1)));
    assert_eq!(crashes.wait(&id, now + Duration::from_mins(1)), None);
    crashes.forget(&id);
    assert_eq!(crashes.wait(&id, now), None);
}
