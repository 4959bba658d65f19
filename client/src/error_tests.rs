use super::*;

#[test]
fn every_kind_has_its_exit_code_and_a_hint() {
    let exits: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let error = Error::rpc(kind.code(), "failed", None);
            let hint = error.hint().expect("every kind says what to do next");
            format!("{} {kind:?}: {hint}", error.exit().code())
        })
        .collect();
    insta::assert_snapshot!(exits.join("\n"));
}

#[test]
fn codes_without_a_kind_go_by_their_range() {
    let exit = |code| Error::rpc(code, "failed", None).exit();
    assert_eq!(exit(-32601), Exit::Failed, "a method of another version");
    assert_eq!(exit(-32700), Exit::Failed, "what this client sends is always JSON");
    assert_eq!(exit(-32007), Exit::Usage, "too long a message");
    assert_eq!(exit(-32006), Exit::TryLater, "too many subscriptions");
    assert_eq!([exit(1999), exit(2999), exit(3999)], [Exit::Usage, Exit::Failed, Exit::TryLater]);
}

#[test]
fn errors_without_an_answer_have_their_exit_codes() {
    let socket = PathBuf::from("/run/talkied.sock");
    let source = io::Error::from(io::ErrorKind::PermissionDenied);
    let not_started = Error::NotStarted { reason: String::new(), tail: String::new(), log: PathBuf::new() };
    for (error, exit) in [
        (Error::NotRunning { socket: socket.clone() }, Exit::Unreachable),
        (not_started, Exit::Unreachable),
        (Error::Io { action: "connect to", path: socket, source }, Exit::Unreachable),
        (Error::Lost, Exit::Unreachable),
        (Error::Protocol("no JSON".into()), Exit::Failed),
        (Error::TooLong { bytes: 1 << 30 }, Exit::Usage),
        (Error::Lagged, Exit::TryLater),
    ] {
        assert_eq!(error.exit(), exit, "{error}");
    }
}

#[test]
fn the_kind_of_the_data_goes_before_the_code() {
    let error = Error::rpc(-32000, "server error", Some(ErrorData::new(Kind::ModelNotFound, "no model org/x")));
    assert_eq!((error.to_string(), error.exit()), ("no model org/x".into(), Exit::NotFound));
}

#[test]
fn hints_carry_the_numbers_of_the_error() {
    let overflow = ErrorData {
        needed_tokens: Some(9000),
        context_length: Some(8192),
        ..ErrorData::new(Kind::ContextOverflow, "too long")
    };
    let busy = ErrorData { retry_after_ms: Some(1500), ..ErrorData::new(Kind::Busy, "busy") };
    assert_eq!(
        Error::rpc(1004, "", Some(overflow)).hint().as_deref(),
        Some("shorten the prompt or lower --max-tokens, together by 808")
    );
    assert_eq!(Error::rpc(3001, "", Some(busy)).hint().as_deref(), Some("try again in 2 s"));
}

#[test]
fn exit_codes_are_unique() {
    let mut codes = Exit::TABLE.map(|(exit, _)| exit.code()).to_vec();
    codes.dedup();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 130]);
}
