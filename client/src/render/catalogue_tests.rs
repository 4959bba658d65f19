use serde_json::json;

use super::*;

fn catalogue() -> Catalogue {
    let model = |id: &str, size: u64, needs: u64, marks: [bool; 3]| {
        let [fits, is_default, is_installed] = marks;
        json!({
            "id": id, "name": id, "display_name": id, "size": size, "type": "local", "provider": "mlx",
            "download_url": "https://hub.example/x", "parameters": 1, "context_length": 131_072,
            "license": "Apache-2.0", "good_at": "notes and summaries", "memory_bytes": needs, "fits": fits,
            "machine_gb": 8, "is_default": is_default, "is_installed": is_installed, "source": "built_in",
        })
    };
    let models = json!({
        "models": [
            model("mlx-community/Llama-3.2-3B-Instruct-4bit", 1_834_000_000, 2_500_000_000, [true, true, false]),
            model("mlx-community/gemma-3-1b-it-4bit", 733_000_000, 1_100_000_000, [true, false, true]),
            model("org/small", 90_000_000, 300_000_000, [true, false, false]),
            model("org/installed", 90_000_000, 300_000_000, [true, true, true]),
            model("org/huge", 40_000_000_000, 44_000_000_000, [false, false, false]),
        ],
        "memory_bytes": 11_500_000_000_u64,
        "problems": ["line 7: \u{1b}[1m is no id"],
    });
    serde_json::from_value(models).expect("a catalogue")
}

fn plain(width: Option<usize>) -> String {
    anstream::adapter::strip_str(&list(&catalogue(), width)).to_string()
}

#[test]
fn the_catalogue_on_80_and_20_columns() {
    insta::assert_snapshot!("catalogue_on_80_columns", plain(Some(80)));
    insta::assert_snapshot!("catalogue_on_20_columns", plain(Some(20)));
    assert_eq!(plain(None), plain(Some(80)));
}

#[test]
fn nothing_fits() {
    let none = Catalogue { models: vec![], memory_bytes: 500_000_000, problems: vec![] };
    assert_eq!(list(&none, Some(80)), "no models\n\na model may take 500 MB of this machine's memory\n");
}
