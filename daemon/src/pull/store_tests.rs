use super::*;
use crate::library::manifest::Hash;

const MORE: u64 = 1000;

fn fact(size: u64) -> FileFact {
    FileFact { path: "model.safetensors".into(), size, hash: Hash::Sha256("ab".into()) }
}

fn store(folder: &Path) -> Store {
    Store::open(folder, &ModelId("org/name".into())).unwrap()
}

#[test]
fn what_was_written_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let fact = fact(SEGMENT + MORE);
    let first = store(folder.path());
    let (part, found) = first.part(&fact).unwrap();
    assert_eq!(found, Found { written: vec![0, 0], verified: false });
    assert_eq!(part.write(1, 0, b"abc").unwrap(), 3);
    assert_eq!(part.write(1, 3, b"def").unwrap(), 6);
    drop((part, first));
    let second = store(folder.path());
    let (part, found) = second.part(&fact).unwrap();
    assert_eq!(found.written, [0, 6]);
    let mut bytes = [0; 6];
    part.read_at(&mut bytes, SEGMENT).unwrap();
    assert_eq!(&bytes, b"abcdef");
}

#[test]
fn after_the_machine_went_down_only_what_had_left_its_memory_counts() {
    let folder = tempfile::tempdir().unwrap();
    let fact = fact(MORE);
    let store = store(folder.path());
    let (part, _) = store.part(&fact).unwrap();
    part.write(0, 0, &[1; 100]).unwrap();
    part.sync(&[100]).unwrap();
    part.write(0, 100, &[1; 50]).unwrap();
    let found = part.read(&[9; 16]).unwrap().unwrap();
    assert_eq!(found.written, [100]);
    assert_eq!(part.read(&[9; 16]).unwrap().unwrap().written, [100], "and so it stays");
}

#[test]
fn a_right_hash_is_remembered_of_a_whole_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let fact = fact(MORE);
    let store = store(folder.path());
    let (part, _) = store.part(&fact).unwrap();
    part.write(0, 0, &[1; MORE as usize]).unwrap();
    part.verified().unwrap();
    assert!(store.part(&fact).unwrap().1.verified);
    let part = store.drop_part(&fact).unwrap();
    assert_eq!(part.read(&boot_id()).unwrap().unwrap(), Found { written: vec![0], verified: false });
}

#[test]
fn damaged_notes_begin_the_file_anew() {
    let folder = tempfile::tempdir().unwrap();
    let fact = fact(MORE);
    let store = store(folder.path());
    let path = folder.path().join("org_name/progress/model.safetensors");
    let damage: [fn(&mut Vec<u8>); 4] =
        [|bytes| bytes.truncate(41), |bytes| bytes[0] = 0, |bytes| bytes[8] ^= 1, |bytes| bytes[47] = 255];
    for damage in damage {
        let (part, _) = store.part(&fact).unwrap();
        part.write(0, 0, &[1; 10]).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        assert_eq!(store.part(&fact).unwrap().1, Found { written: vec![0], verified: false });
    }
    // The data themselves are gone.
    let (part, _) = store.part(&fact).unwrap();
    part.write(0, 0, &[1; 10]).unwrap();
    fs::remove_file(folder.path().join("org_name/model/model.safetensors")).unwrap();
    assert_eq!(store.part(&fact).unwrap().1.written, [0]);
}

#[test]
fn an_installed_file_is_taken_without_a_copy_and_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("installed");
    fs::create_dir(&installed).unwrap();
    fs::write(installed.join("model.safetensors"), vec![7; MORE as usize]).unwrap();
    let store = store(folder.path());
    store.link(&fact(MORE + 1), &installed);
    assert!(!store.model().join("model.safetensors").exists(), "it has another length");
    store.link(&fact(MORE), &installed);
    assert_eq!(store.part(&fact(MORE)).unwrap().1, Found { written: vec![MORE], verified: false });
    let part = store.drop_part(&fact(MORE)).unwrap();
    part.write(0, 0, &[1; 10]).unwrap();
    assert_eq!(fs::read(installed.join("model.safetensors")).unwrap(), vec![7; MORE as usize]);
}

#[test]
fn a_download_belongs_to_one_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path());
    let again = Store::open(folder.path(), &ModelId("org/name".into())).unwrap_err();
    assert!(matches!(again, PullError::Taken { .. }), "{again}");
    drop(first);
    store(folder.path()).remove().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn downloads_are_found_again_and_odd_ones_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut job = Job::new(ModelId("org/name".into()), "main".into());
    job.files.push(fact(MORE));
    job.paused = true;
    store.save(&job).unwrap();
    assert_eq!(store.job(), Some(job.clone()));
    assert_eq!(Job::all(folder.path()), [job.clone()]);
    job.files[0].path = "../../evil".into();
    store.save(&job).unwrap();
    assert_eq!(Job::all(folder.path()), []);
    fs::write(folder.path().join("org_name/pull.json"), "{").unwrap();
    assert_eq!(Job::all(folder.path()), []);
}
