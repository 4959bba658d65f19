use std::collections::HashSet;

use super::*;

#[test]
fn ids_of_calls_are_such_as_every_template_takes_and_none_is_like_another() {
    let ids: HashSet<String> = std::iter::repeat_with(id).take(1000).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.iter().all(|id| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{ids:?}");
}
