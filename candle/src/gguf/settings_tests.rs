//! What a file leaves open is taken as llama.cpp takes it.

use super::*;

/// No file says how scores are scaled: it follows from the number of layers.
#[test]
fn the_largest_gemma_scales_scores_by_its_width() {
    for (architecture, layers, scalar) in
        [("gemma2", 46, 144), ("gemma2", 62, 128), ("gemma3", 46, 128), ("gemma3", 62, 144)]
    {
        let config =
            json!({ "num_hidden_layers": layers, "hidden_size": 4608, "num_attention_heads": 32, "head_dim": 128 });
        let mut config = config.as_object().unwrap().clone();
        gemma(&mut config, architecture);
        assert_eq!(config["query_pre_attn_scalar"], scalar, "{architecture} of {layers} layers");
    }
}
