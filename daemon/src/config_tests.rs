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
