//! Published logs, made to measure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile::log::tiles::{LogInfo, LogSource, LogSourceError, Publisher, Signer, SignerError};
use domicile::log::verify::{Options, Problem, Report, verify};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{HashReader, Tile, TileHashReader, TileReader};

use crate::ORIGIN;

/// A published log in a folder of its own.
pub struct Log {
    pub dir: tempfile::TempDir,
    pub kept: tempfile::TempDir,
    pub source: Arc<Entries>,
    pub seed: u8,
}

impl Log {
    pub fn new() -> Self {
        let (dir, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Log { dir, kept, source: Arc::new(Entries::default()), seed: 7 }
    }

    pub fn of(size: u64) -> Self {
        let log = Log::new();
        log.publish(size);
        log
    }

    pub fn signed_by(seed: u8, size: u64) -> Self {
        let log = Log { seed, ..Log::new() };
        log.publish(size);
        log
    }

    pub fn publisher(&self) -> Publisher {
        let source = Arc::clone(&self.source) as Arc<dyn LogSource>;
        Publisher::open(self.dir.path(), source, Arc::new(Seed(self.seed))).unwrap()
    }

    /// Grows the log to `size` and publishes it, taking it up anew as after a restart.
    pub fn publish(&self, size: u64) {
        self.source.grow(ORIGIN, size);
        let mut publisher = self.publisher();
        while !publisher.run_once().unwrap().is_empty() {}
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(ORIGIN).join(path)
    }

    pub fn vkey(&self) -> String {
        fs::read_to_string(self.path("vkey")).unwrap()
    }

    pub fn keep_checkpoint(&self) -> PathBuf {
        let note = fs::read(self.path("checkpoint")).unwrap();
        let kept = self.kept.path().join(fs::read_dir(self.kept.path()).unwrap().count().to_string());
        fs::write(&kept, note).unwrap();
        kept
    }

    pub fn flip(&self, path: &str, at: usize) {
        let mut bytes = fs::read(self.path(path)).unwrap();
        bytes[at] ^= 1;
        fs::write(self.path(path), bytes).unwrap();
    }

    pub fn verify(&self) -> Report {
        self.verify_with(&[])
    }

    pub fn verify_with(&self, older: &[PathBuf]) -> Report {
        let dir = self.dir.path().to_owned();
        verify(&Options { dir, vkeys: vec![self.vkey()], old_checkpoints: older.to_vec() })
    }

    pub fn problems(&self) -> Vec<Problem> {
        let report = self.verify();
        assert_eq!(report.exit_code(), 1, "{report}");
        report.logs[0].problems.clone()
    }

    /// Checks the signature with `signed_note`, and the last and some other entries with `tlog_tiles`, which
    /// authenticates every hash that it reads from our tiles against the signed root.
    pub fn is_accepted_by_foreign_code(&self) {
        let verifiers =
            VerifierList::new(vec![Box::new(StandardVerifier::new(self.vkey().trim_end()).unwrap())]);
        let note = Note::from_bytes(&fs::read(self.path("checkpoint")).unwrap()).unwrap();
        assert_eq!(note.verify(&verifiers).unwrap().0.len(), 1);
        let head = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!(head.origin(), ORIGIN);
        let reader = TileHashReader::new(head.size(), *head.hash(), self);
        for index in [0, head.size() / 3, head.size() / 2, head.size() - 1] {
            let hashes = reader.read_hashes(&[tlog_tiles::stored_hash_index(0, index)]).unwrap();
            let entry = self.source.entries(ORIGIN, index, index + 1).unwrap().remove(0);
            assert_eq!(hashes, [tlog_tiles::record_hash(&entry)], "entry {index} of {}", head.size());
        }
    }
}

impl TileReader for Log {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            // The crate's own paths are those of Go's checksum database. These logs stay below 256000 entries.
            assert!(tile.level_index() < 1000);
            let partial = if tile.width() < 256 { format!(".p/{}", tile.width()) } else { String::new() };
            fs::read(self.path(&format!("tile/{}/{:03}{partial}", tile.level(), tile.level_index()))).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _tiles: &[Tile], _data: &[Vec<u8>]) {}
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[derive(Default)]
pub struct Entries(Mutex<std::collections::BTreeMap<String, Vec<Vec<u8>>>>);

impl Entries {
    pub fn grow(&self, origin: &str, size: u64) {
        let mut logs = self.0.lock().unwrap();
        let entries = logs.entry(origin.to_owned()).or_default();
        let held = entries.len() as u64;
        entries.extend((held..size).map(|index| entry(index, 0)));
    }

    pub fn replace(&self, origin: &str, entries: Vec<Vec<u8>>) {
        self.0.lock().unwrap().insert(origin.to_owned(), entries);
    }
}

/// Entry 0 opens the log; the others are writes of seven objects in turn.
pub fn entry(index: u64, salt: u64) -> Vec<u8> {
    let nonce = URL_SAFE_NO_PAD.encode([index.to_be_bytes(), salt.to_be_bytes()].concat());
    let head = if index == 0 { r#""ev":"log.open""# } else { r#""ev":"write","lbl":["personal.health"]"# };
    let object = if index == 0 { String::new() } else { format!(r#","oid":"{}""#, oid(index % 7)) };
    let previous = if index > 7 { format!(r#","prev":{}"#, index - 7) } else { String::new() };
    let time = 1_790_000_000_000 + index;
    format!(r#"{{{head},"n":"{nonce}","node":"gw-1"{object}{previous},"t":{time},"v":1}}"#).into_bytes()
}

pub fn oid(object: u64) -> String {
    URL_SAFE_NO_PAD.encode(u128::from(object).to_be_bytes())
}

impl LogSource for Entries {
    fn logs(&self) -> Result<Vec<LogInfo>, LogSourceError> {
        let logs = self.0.lock().unwrap();
        let info = |(origin, entries): (&String, &Vec<Vec<u8>>)| LogInfo {
            origin: origin.clone(),
            jurisdiction: "CN".parse().unwrap(),
            size: entries.len() as u64,
        };
        Ok(logs.iter().map(info).collect())
    }

    fn entries(&self, origin: &str, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LogSourceError> {
        let logs = self.0.lock().unwrap();
        Ok(logs.get(origin).unwrap()[from as usize..to as usize].to_vec())
    }
}

pub struct Seed(pub u8);

impl Signer for Seed {
    fn seed(&self, _origin: &str) -> Result<[u8; 32], SignerError> {
        Ok([self.0; 32])
    }
}
