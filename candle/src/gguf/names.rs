//! What llama.cpp calls the tensors that checkpoints on the hub call otherwise: its `gguf-py/gguf/tensor_mapping.py`.

/// The name in a GGUF file of the tensor `name`. In Gemma 2 and 3 some norms stand elsewhere than where others have the
/// same name.
pub fn of(name: &str, is_later_gemma: bool) -> Option<String> {
    let (path, part) = name.rsplit_once('.')?;
    let whole = match path {
        "model.embed_tokens" => "token_embd",
        "model.norm" => "output_norm",
        "lm_head" => "output",
        _ => {
            let (layer, inner) = path.strip_prefix("model.layers.")?.split_once('.')?;
            return Some(format!("blk.{layer}.{}.{part}", of_layer(inner, is_later_gemma)?));
        }
    };
    Some(format!("{whole}.{part}"))
}

fn of_layer(path: &str, is_later_gemma: bool) -> Option<&str> {
    Some(match path {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" if is_later_gemma => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.qkv_proj" => "attn_qkv",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        // Phi 3's has the gate above.
        "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    })
}
