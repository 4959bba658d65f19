//! What llama.cpp calls the tensors that checkpoints on the hub call otherwise.

/// The name in a GGUF file of the tensor `name`.
pub fn of(name: &str) -> Option<String> {
    let (path, part) = name.rsplit_once('.')?;
    let whole = match path {
        "model.embed_tokens" => "token_embd",
        "model.norm" => "output_norm",
        "lm_head" => "output",
        _ => {
            let (layer, inner) = path.strip_prefix("model.layers.")?.split_once('.')?;
            return Some(format!("blk.{layer}.{}.{part}", of_layer(inner)?));
        }
    };
    Some(format!("{whole}.{part}"))
}

fn of_layer(path: &str) -> Option<&str> {
    Some(match path {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    })
}
