use super::*;

fn signs(paths: &[&str]) -> Signs {
    let mut signs = Signs::default();
    for path in paths {
        signs.add(&[PathBuf::from(path)]);
    }
    signs
}

#[test]
fn a_sign_touches_its_folder_and_no_other() {
    let signs = signs(&["/m/a_b/config.json", "/m/c_d"]);
    assert!(signs.touch(Path::new("/m/a_b")) && signs.touch(Path::new("/m/c_d")));
    for other in ["/m/a", "/m/a_bc", "/m/a_b/config.json/x", "/m/c", "/m/z"] {
        assert!(!signs.touch(Path::new(other)), "{other}");
    }
    assert!(!signs.is_empty() && Signs::default().is_empty() && !Signs::default().touch(Path::new("/m")));
}

#[test]
fn signs_without_a_place_or_of_an_unknown_one_are_everywhere() {
    let mut nowhere = signs(&["/m/a_b"]);
    nowhere.add(&[]);
    assert_eq!(nowhere, Signs::Everywhere);
    let watched = [PathBuf::from("/m")];
    assert_eq!(signs(&["/private/m/a_b"]).within(&watched), Signs::Everywhere);
    assert_eq!(signs(&["/m/a_b"]).within(&watched), signs(&["/m/a_b"]));
    let mut many = Signs::default();
    for number in 0..=MOST {
        many.add(&[PathBuf::from(number.to_string())]);
    }
    assert_eq!(many, Signs::Everywhere);
}

#[test]
fn a_sign_that_comes_while_the_disk_is_looked_at_stays() {
    let mut heard = Heard::default();
    heard.add(&["/m/a_b".into()]);
    let count = heard.count;
    heard.add(&["/m/a_b".into()]);
    heard.settle(count);
    assert!(heard.signs.touch(Path::new("/m/a_b")));
    heard.settle(heard.count);
    assert!(heard.signs.is_empty());
}
