//! An export as C2SP tlog-tiles is read by a library for such logs.

use std::path::PathBuf;

use aegis_log::{ExportOptions, Reader};
use tlog_tiles::{Hash, HashReader as _, Tile, TileHashReader, TileReader};

use crate::common::{EVENING, Log, body};

struct Folder(PathBuf);

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles
            .iter()
            .map(|tile| std::fs::read(self.0.join(tile_file(tile))).unwrap())
            .collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The library's paths begin with `tile/<height>/` as Go's do; those of tlog-tiles have no height.
fn tile_file(tile: &Tile) -> String {
    let path = tile.path();
    path.strip_prefix("tile/8/")
        .map_or(path.clone(), |rest| format!("tile/{rest}"))
}

#[test]
fn an_export_is_verified_by_the_oracle() {
    let mut log = Log::new();
    log.segment_bytes = 100_000;
    let mut writer = log.open();
    for seq in 0..700_u64 {
        writer.append(1, EVENING, &body(seq)).unwrap();
    }
    writer.close().unwrap();
    let reader = Reader::open(log.dir()).unwrap();
    let out = log.dir().parent().unwrap().join("tiles");
    reader
        .export_tiles(&out, &ExportOptions::default(), &mut |_, _| {})
        .unwrap();

    let note = std::fs::read(out.join("checkpoint")).unwrap();
    let note = signed_note::Note::from_bytes(&note).unwrap();
    let verifier = signed_note::StandardVerifier::new(&reader.vkey().to_string()).unwrap();
    note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(checkpoint.size(), 700);

    let folder = Folder(out.clone());
    let root = Hash(checkpoint.hash().0);
    let hashes = TileHashReader::new(700, root, &folder);
    let mut seq = 0;
    for (tile, name) in [(0_u64, "000"), (1, "001"), (2, "002.p/188")] {
        let bundle = std::fs::read(out.join("tile/entries").join(name)).unwrap();
        let mut rest = &bundle[..];
        while let Some((len, after)) = rest.split_first_chunk::<2>() {
            let (record, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
            let leaf = tlog_tiles::record_hash(record);
            let stored = hashes
                .read_hashes(&[tlog_tiles::stored_hash_index(0, seq)])
                .unwrap();
            assert_eq!(stored[0].0, leaf.0, "{seq}");
            let proof = tlog_tiles::prove_record(700, seq, &hashes).unwrap();
            tlog_tiles::check_record(&proof, 700, root, seq, leaf).unwrap();
            assert_eq!(seq / 256, tile);
            rest = after;
            seq += 1;
        }
    }
    assert_eq!(seq, 700);
}
