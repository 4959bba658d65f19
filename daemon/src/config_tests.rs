use super::*;

fn parse(arguments: &[&str]) -> Result<Config, ConfigError> {
    Arguments::try_parse_from([&["talkied"], arguments].concat()).expect("arguments parse").resolve()
}

#[test]
fn a_home_holds_the_socket_unless_that_is_named() {
    let config = parse(&["--home", "/h"]).unwrap();
    assert_eq!(config.socket, socket::Place::Default("/h/run/talkied.sock".into()));
    let config = parse(&["--home", "/h", "--socket", "/s/t.sock"]).unwrap();
    assert_eq!(config.socket, socket::Place::Named("/s/t.sock".into()));
}

#[test]
fn a_relative_place_is_refused_by_name() {
    assert_eq!(parse(&["--home", "h"]).unwrap_err().to_string(), "--home is h, but must be an absolute path");
}

#[test]
fn a_keep_alive_that_is_none_is_refused() {
    let error = Arguments::try_parse_from(["talkied", "--keep-alive", "5 days"]).unwrap_err().to_string();
    assert!(error.contains("forever"), "{error}");
}

#[test]
fn places_with_models_are_absolute_and_keep_their_order() {
    let config = parse(&["--home", "/h", "--models", "/a:/b", "--hf-cache", "/c"]).unwrap();
    let places: Vec<_> = config.places.iter().map(|place| (place.root.to_str().unwrap(), place.source)).collect();
    let (folder, cache) = (ModelSource::Folder, ModelSource::HuggingFaceCache);
    assert_eq!(places, [("/a", folder), ("/b", folder), ("/c", cache)]);
    assert!(parse(&["--home", "/h", "--hf-cache", "none"]).unwrap().places.is_empty());
    for (name, place) in [("--models", "a"), ("--hf-cache", "c")] {
        let error = parse(&["--home", "/h", name, place]).unwrap_err().to_string();
        assert_eq!(error, format!("{name} is {place}, but must be an absolute path"));
    }
}

#[test]
fn a_limit_of_downloads_is_bytes_with_a_unit() {
    let limit = |text| parse(&["--home", "/h", "--pull-limit", text]).unwrap().pull_limit;
    assert_eq!(
        [limit("7"), limit("500k"), limit("20M"), limit("1G")],
        [7, 500_000, 20_000_000, 1_000_000_000].map(Some)
    );
    for wrong in ["", "0", "M", "-1", "1.5M", "99999999999G", "5T"] {
        let parsed = Arguments::try_parse_from(["talkied", &format!("--pull-limit={wrong}")]);
        assert!(parsed.unwrap_err().to_string().contains("such as 500k"), "{wrong:?}");
    }
}
