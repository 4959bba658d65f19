use super::*;
use crate::library::fixture::{self, Entry, F32, File, Q4_0};

fn read(file: &File) -> Result<Llama, String> {
    let folder = tempfile::tempdir().unwrap();
    let gguf = gguf::open(&file.write(folder.path())).unwrap();
    let read = || {
        refuse_unknown(&gguf)?;
        let llama = Llama::read(&gguf)?;
        llama.pieces(&gguf)?;
        Ok(llama)
    };
    read().map_err(|error: GgufError| error.to_string())
}

/// Checks that the tiny model is refused after a change, in words that contain `part`.
fn refused(part: &str, change: impl FnOnce(&mut File)) {
    let mut file = File::tiny(Q4_0);
    change(&mut file);
    let error = read(&file).expect_err(part);
    assert!(error.contains(part), "{error:?} does not say {part:?}");
}

fn set(key: &str, value: Entry) -> impl FnOnce(&mut File) {
    move |file| file.set(key, value)
}

#[test]
fn the_configuration_is_what_the_metadata_says() {
    let llama = read(&File::tiny(Q4_0)).unwrap();
    let config = Value::Object(llama.config());
    let expected = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100_000.0,
        "rope_scaling": null,
        "vocab_size": 265,
        "tie_word_embeddings": true,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
    });
    assert_eq!(config, expected);
}

#[test]
fn a_head_of_its_own_and_heads_of_their_own_size_are_carried_over() {
    let mut file = File::tiny(Q4_0);
    file.push("output.weight", &[265, 64], F32);
    for key in ["llama.attention.key_length", "llama.attention.value_length", "llama.rope.dimension_count"] {
        file.set(key, Entry::U32(64));
    }
    for layer in 0..2 {
        for (name, shape) in
            [("attn_q", [128, 64]), ("attn_k", [64, 64]), ("attn_v", [64, 64]), ("attn_output", [64, 128])]
        {
            let name = format!("blk.{layer}.{name}.weight");
            file.remove(&name);
            file.push(&name, &shape, Q4_0);
        }
    }
    let llama = read(&file).unwrap();
    assert_eq!((llama.head_dim, llama.tied), (64, false));
}

#[test]
fn what_the_metadata_may_leave_out_has_its_usual_value() {
    let mut file = File::tiny(fixture::F16);
    file.unset("llama.rope.freq_base");
    assert_eq!(read(&file).unwrap().rope_theta.to_bits(), 10_000_f64.to_bits());
    file.set("llama.attention.sliding_window", Entry::U32(128));
    file.set("llama.expert_count", Entry::U32(0));
    read(&file).unwrap();
    file.unset("llama.attention.head_count_kv");
    assert!(
        read(&file)
            .unwrap_err()
            .contains("blk.0.attn_k.weight has the shape [32, 64] where the metadata asks for [64, 64]")
    );
}

#[test]
fn other_architectures_and_kinds_of_files_are_refused_by_name() {
    refused("architecture is \"gemma3\"", set("general.architecture", Entry::Text("gemma3")));
    refused("lacks general.architecture", |file| file.unset("general.architecture"));
    refused("general.architecture is not a text", set("general.architecture", Entry::U32(1)));
    refused("of the type \"adapter\"", set("general.type", Entry::Text("adapter")));
    refused("one of 3 parts", set("split.count", Entry::U32(3)));
    refused("mixture of 8 experts", set("llama.expert_count", Entry::U32(8)));
    refused("slides over 64 tokens of 128", set("llama.attention.sliding_window", Entry::U32(64)));
    refused("sets llama.attention.clamp_kqv", set("llama.attention.clamp_kqv", Entry::F32(8.0)));
    refused("sets llama.logit_scale", set("llama.logit_scale", Entry::F32(2.0)));
}

#[test]
fn other_encodings_are_refused_by_name() {
    for (kind, name) in [(23, "IQ4_XS"), (9, "Q8_1"), (24, "I8"), (99, "of the unknown type 99")] {
        let part =
            format!("tensor blk.0.attn_q.weight is {name}, which cannot be imported; supported: F32, F16, BF16,");
        refused(&part, |file| file.tensor("blk.0.attn_q.weight").kind = kind);
    }
}

#[test]
fn numbers_that_fit_no_model_are_refused_by_key() {
    for key in ["block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"] {
        let key = format!("llama.{key}");
        refused(&format!("lacks {key}"), |file| file.unset(&key));
        refused(&format!("{key} is 0"), set(&key, Entry::U32(0)));
        refused(&format!("{key} is not a whole number"), set(&key, Entry::F32(2.0)));
    }
    for key in ["block_count", "embedding_length", "feed_forward_length", "attention.head_count"] {
        refused(&format!("llama.{key} is 4294967295"), set(&format!("llama.{key}"), Entry::U32(u32::MAX)));
    }
    refused("lacks llama.attention.layer_norm_rms_epsilon", |file| {
        file.unset("llama.attention.layer_norm_rms_epsilon");
    });
    refused("is not a finite number", set("llama.rope.freq_base", Entry::F32(f32::NAN)));
    refused("3 heads cannot share an embedding of 64", set("llama.attention.head_count", Entry::U32(3)));
    refused("64 heads cannot share an embedding of 64", set("llama.attention.head_count", Entry::U32(64)));
    refused("2 heads cannot share 0 heads", set("llama.attention.head_count_kv", Entry::U32(0)));
    refused("2 heads cannot share 3 heads", set("llama.attention.head_count_kv", Entry::U32(3)));
    refused(
        "32 numbers for keys, 32 for values and 16 that rope turns",
        set("llama.rope.dimension_count", Entry::U32(16)),
    );
    refused("16 for values", set("llama.attention.value_length", Entry::U32(16)));
}

#[test]
fn tensors_must_be_those_of_the_architecture() {
    refused("tensor token_embd.weight is missing", |file| file.remove("token_embd.weight"));
    refused("tensor blk.1.ffn_up.weight is missing", |file| file.remove("blk.1.ffn_up.weight"));
    refused("tensor blk.2.attn_norm.weight is missing", set("llama.block_count", Entry::U32(3)));
    refused("tensor blk.1.attn_k.weight has no place", set("llama.block_count", Entry::U32(1)));
    refused("tensor blk.0.attn_q.bias has no place", |file| file.push("blk.0.attn_q.bias", &[64], F32));
    refused("tensor output_norm.weight is Q4_0, but norms", |file| {
        file.remove("output_norm.weight");
        file.push("output_norm.weight", &[64], Q4_0);
    });
    refused("tensor output_norm.weight has the shape [1, 64]", |file| {
        file.tensor("output_norm.weight").shape = vec![1, 64];
    });
    refused("tensor token_embd.weight has the shape [265, 8, 8]", |file| {
        file.remove("token_embd.weight");
        file.push("token_embd.weight", &[265, 8, 8], F32);
    });
}
