use super::*;

fn hashed(hash: Hasher, bytes: &[u8]) -> Hash {
    let mut hasher = hash;
    hasher.take(&mut &bytes[..], || true).unwrap();
    hasher.finish()
}

#[test]
fn hashes_are_those_of_sha256sum_and_git() {
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hashed(Hasher::sha256(), b"abc"), Hash::Sha256(sha256.into()));
    // `printf 'hello\n' | git hash-object --stdin`
    let blob = "ce013625030ba8dba906f756967f9e9ca394464a";
    assert_eq!(hashed(Hasher::git_sha1(6), b"hello\n"), Hash::GitSha1(blob.into()));
}

#[test]
fn a_hash_that_nobody_waits_for_ends() {
    let error = Hasher::sha256().take(&mut io::repeat(0), || false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![
        FileFact { path: "model.safetensors".into(), size: 3, hash: Hash::Sha256("ab".into()) },
        FileFact { path: "config.json".into(), size: 2, hash: Hash::GitSha1("cd".into()) },
    ];
    let manifest = Manifest::new(ModelId("org/name".into()), Some("607a".into()), "somewhere".into(), files);
    manifest.write(folder.path()).unwrap();
    assert_eq!(Manifest::read(folder.path()), Some(manifest.clone()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing lies beside it");
    let text = fs::read_to_string(folder.path().join(MANIFEST)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["files"][1], serde_json::json!({"path": "config.json", "size": 2, "git_sha1": "cd"}));
    fs::write(folder.path().join("model.safetensors"), "abc").unwrap();
    assert_eq!(manifest.lacks(folder.path()).unwrap(), "config.json is missing: download the model again");
    fs::write(folder.path().join("config.json"), "{").unwrap();
    let words = "config.json has 1 bytes where its manifest says 2: download the model again";
    assert_eq!(manifest.lacks(folder.path()).unwrap(), words);
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert_eq!(manifest.lacks(folder.path()), None);
}

#[test]
fn what_is_no_manifest_is_none() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Manifest::read(folder.path()), None);
    for text in ["", "{}", "[1]", r#"{"format":2,"id":"a","source":"","created":"","version":"","files":[]}"#] {
        fs::write(folder.path().join(MANIFEST), text).unwrap();
        assert_eq!(Manifest::read(folder.path()), None, "{text}");
    }
}
