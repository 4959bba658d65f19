use super::*;

/// With everything in it that some format wants escaped.
pub(crate) const NASTY: &str = "a b & <c> \"d\" 'e' %h %% $HOME \\n ü 语 ;#@PROGRAM@";

/// A job that both managers' files have to escape.
pub(crate) fn nasty() -> Job {
    let folder = Path::new("/opt").join(NASTY);
    Job {
        program: folder.join("talkied"),
        socket: folder.join("talkied.sock"),
        home: folder,
        environment: vec![("TALKIE_HOME".into(), NASTY.into()), ("TALKIE_QUEUE".into(), "7".into())],
    }
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn job(socket: Socket, pairs: &[(&str, &str)]) -> Result<Job, Error> {
    let paths = Paths { home: "/h".into(), socket: "/h/run/talkied.sock".into() };
    Job::new("/bin/talkied".into(), &paths, socket, variables(pairs))
}

fn names(job: &Job) -> Vec<&str> {
    job.environment.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn only_what_is_set_for_talkied_goes_along_and_no_secret() {
    let job = job(
        Socket::Default,
        &[
            ("PATH", "/bin"),
            ("HF_TOKEN", "secret"),
            ("TALKIE_QUEUE", "7"),
            ("TALKIE_KEY_GEMINI", "secret"),
            ("TALKIE_TEST_X", "1"),
            ("TALKIE_DRAIN", ""),
            ("TALKIECTL_COMPLETE", "bash"),
        ],
    );
    assert_eq!(job.unwrap().environment, [("TALKIE_QUEUE".to_owned(), "7".to_owned())]);
}

#[test]
fn places_are_told_where_they_are_not_the_defaults() {
    assert_eq!(names(&job(Socket::Default, &[]).unwrap()), [] as [&str; 0]);
    for moved in [
        job(Socket::Named, &[]),
        job(Socket::Default, &[("TALKIE_HOME", "/h")]),
        job(Socket::Default, &[("TALKIE_SOCKET", "/s")]),
        job(Socket::Default, &[("XDG_DATA_HOME", "/d")]),
    ] {
        assert_eq!(names(&moved.unwrap()), ["TALKIE_HOME", "TALKIE_SOCKET"]);
    }
}

#[test]
fn what_no_file_can_hold_is_refused_by_name() {
    let error = job(Socket::Default, &[("TALKIE_MODELS", "/a\nb")]).unwrap_err();
    assert!(error.to_string().contains("TALKIE_MODELS"), "{error}");
    let paths = Paths { home: "/h".into(), socket: "/h/s".into() };
    let error = Job::new("/bin/talk\ned".into(), &paths, Socket::Default, Vec::new()).unwrap_err();
    assert!(error.to_string().contains("/bin/talk"), "{error}");
}

#[test]
fn relative_places_are_written_whole() {
    let paths = Paths { home: "h".into(), socket: "s".into() };
    let job = Job::new("/bin/talkied".into(), &paths, Socket::Named, Vec::new()).unwrap();
    assert!(job.home.is_absolute() && job.socket.is_absolute(), "{job:?}");
}
