use std::fs::File;

use serde_json::json;

use super::fixtures::{ModelFolder, byte_fallback, byte_level, size, with_special};
use super::*;

fn user(content: &str) -> Message {
    Message::new(Role::User, content)
}

fn system(content: &str) -> Message {
    Message::new(Role::System, content)
}

/// The tokens as texts, special ones too.
fn tokens(model: &TextModel, prompt: &[u32]) -> String {
    let shown = |id: &u32| model.tokenizer.shown(*id).is_some();
    let parts = prompt.chunk_by(|left, right| shown(left) && shown(right)).map(|part| {
        let names = ["<|bos|>", "<|im_start|>", "<|im_end|>"];
        let special = names.into_iter().find(|name| model.tokenizer.id(name) == part.first().copied());
        special.map_or_else(|| model.decode(part), |name| format!("[{name}]"))
    });
    parts.collect()
}

#[test]
fn a_model_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<TextModel>();
    shared::<Detokenizer>();
}

#[test]
fn a_conversation_becomes_the_templates_prompt_with_one_beginning_of_text() {
    let model = ModelFolder::chat().open().unwrap();
    let prompt = model.encode_chat(&[user("Hé")], Some("Be kind.")).unwrap();
    assert_eq!(
        tokens(&model, &prompt),
        "[<|bos|>][<|im_start|>]system\nBe kind.[<|im_end|>]\n[<|im_start|>]user\nHé[<|im_end|>]\n\
         [<|im_start|>]assistant\n"
    );
    let same = model.encode_chat(&[system("Be kind."), user("Hé")], None).unwrap();
    assert_eq!(prompt, same);
}

#[test]
fn special_tokens_written_in_a_message_are_those_tokens() {
    let model = ModelFolder::chat().open().unwrap();
    let prompt = model.encode_chat(&[user("a<|im_end|>b")], None).unwrap();
    assert!(tokens(&model, &prompt).contains("a[<|im_end|>]b"));
}

#[test]
fn a_conversation_that_is_none_is_refused_in_words() {
    let model = ModelFolder::chat().open().unwrap();
    let many = vec![user("x"); MAX_MESSAGES + 1];
    for (messages, system_prompt, words) in [
        (vec![], None, "no messages"),
        (vec![system("a"), user("b")], Some("c"), "both a system prompt and a message of role system"),
        (vec![user("a"), system("b")], None, "must be the first"),
        (many, None, "4097 messages, but 4096 are the most"),
    ] {
        let error = model.encode_chat(&messages, system_prompt).unwrap_err();
        assert!(matches!(&error, TextError::Chat(text) if text.contains(words)), "{error}");
    }
}

#[test]
fn a_conversation_longer_than_any_context_is_refused() {
    let model = ModelFolder::chat().open().unwrap();
    let long = "x".repeat(MAX_PROMPT_BYTES / 2 + 1);
    let error = model.encode_chat(&[user(&long)], Some(&long)).unwrap_err();
    assert!(matches!(error, TextError::TooLong { limit: MAX_PROMPT_BYTES }), "{error}");
}

#[test]
fn a_prompt_without_tokens_is_refused() {
    let model = ModelFolder::chat().with_text("chat_template.jinja", "{# nothing #}").open().unwrap();
    let error = model.encode_chat(&[user("a")], None).unwrap_err();
    assert!(error.to_string().contains("no tokens"), "{error}");
}

#[test]
fn a_template_that_raises_refuses_in_its_own_words() {
    let folder = ModelFolder::chat().with_text("chat_template.jinja", "{{ raise_exception('no system, please') }}");
    let error = folder.open().unwrap().encode_chat(&[user("a")], None).unwrap_err();
    assert!(matches!(&error, TextError::Refused(words) if words == "no system, please"), "{error}");
}

#[test]
fn a_template_with_a_fault_says_so_when_the_model_is_opened() {
    let error = ModelFolder::chat().with_text("chat_template.jinja", "{% if %}").open().unwrap_err();
    assert!(matches!(error, TextError::Template(_)), "{error}");
}

#[test]
fn a_date_in_a_template_is_the_clocks() {
    let folder = ModelFolder::chat().with_text("chat_template.jinja", "{{ strftime_now('%d %b %Y') }}");
    let model = folder.open().unwrap();
    let prompt = model.encode_chat(&[user("a")], None).unwrap();
    assert_eq!(model.decode(&prompt), "04 Jul 2026");
}

#[test]
fn a_model_without_a_template_takes_one_user_message_as_raw_text() {
    let model = ModelFolder::chat().without("chat_template.jinja").open().unwrap();
    assert!(!model.has_template());
    let prompt = model.encode_chat(&[user("the")], None).unwrap();
    assert_eq!(tokens(&model, &prompt), "[<|bos|>]the");
    for (messages, system_prompt) in
        [(vec![user("a"), user("b")], None), (vec![user("a")], Some("b")), (vec![system("a")], None)]
    {
        let error = model.encode_chat(&messages, system_prompt).unwrap_err();
        assert!(matches!(error, TextError::NoTemplate { .. }), "{error}");
        assert!(error.to_string().contains("one user message"), "{error}");
    }
}

#[test]
fn the_template_is_the_file_before_the_configurations_and_the_default_before_others() {
    let config = |template: serde_json::Value| json!({"chat_template": template});
    let named = json!([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]);
    for (folder, text) in [
        (
            ModelFolder::chat()
                .with("tokenizer_config.json", &config(json!("inline")))
                .with_text("chat_template.jinja", "file"),
            "file",
        ),
        (ModelFolder::new(&byte_level()).with("tokenizer_config.json", &config(json!("inline"))), "inline"),
        (ModelFolder::new(&byte_level()).with("tokenizer_config.json", &config(named)), "plain"),
        (
            ModelFolder::new(&byte_level())
                .with("tokenizer_config.json", &config(json!([{"name": "only", "template": "one"}]))),
            "one",
        ),
    ] {
        let model = folder.open().unwrap();
        let prompt = model.encode_chat(&[user("a")], None).unwrap();
        assert_eq!(model.decode(&prompt), text);
    }
    let none = ModelFolder::new(&byte_level()).with("tokenizer_config.json", &config(json!(null))).open().unwrap();
    assert!(!none.has_template());
    let error = ModelFolder::new(&byte_level()).with("tokenizer_config.json", &config(json!(5))).open().unwrap_err();
    assert!(matches!(&error, TextError::Broken { path, .. } if path.ends_with("tokenizer_config.json")), "{error}");
}

#[test]
fn stop_tokens_are_the_generation_configurations_before_the_models_and_always_the_tokenizers() {
    let eos = |ids: serde_json::Value| json!({"eos_token_id": ids});
    let open = |folder: ModelFolder| folder.open().unwrap().stop_tokens().to_vec();
    let im_end = 268;
    assert_eq!(open(ModelFolder::new(&byte_level())), [] as [u32; 0]);
    assert_eq!(open(ModelFolder::new(&byte_level()).with("config.json", &eos(json!(7)))), [7]);
    assert_eq!(open(ModelFolder::chat().with("config.json", &eos(json!([9, 7, 7])))), [7, 9, im_end]);
    let both =
        ModelFolder::chat().with("config.json", &eos(json!(7))).with("generation_config.json", &eos(json!([3, -1])));
    assert_eq!(open(both), [3, im_end]);
    let silent = ModelFolder::chat().with("config.json", &eos(json!(7))).with("generation_config.json", &json!({}));
    assert_eq!(open(silent), [7, im_end]);
    let nested = json!({"text_config": {"eos_token_id": 5, "vocab_size": 300, "max_position_embeddings": 99}});
    let model = ModelFolder::new(&byte_level()).with("config.json", &nested).open().unwrap();
    assert_eq!((model.stop_tokens(), model.vocab_size(), model.context_length()), (&[5][..], Some(300), Some(99)));
}

#[test]
fn gpt_oss_ends_an_answer_behind_a_call_whatever_its_configuration_says() {
    let tokenizer = with_special(byte_level(), &["<|return|>", "<|call|>"]);
    let first = size(&byte_level()) as u32;
    let open = |template: &str| {
        let folder = ModelFolder::new(&tokenizer).with_text("chat_template.jinja", template);
        folder.open().unwrap().stop_tokens().to_vec()
    };
    assert_eq!(open("<|channel|><|message|>"), [first, first + 1]);
    assert_eq!(open("<tool_call>"), [] as [u32; 0]);
}

#[test]
fn a_template_for_tools_is_used_when_there_are_tools() {
    let plain = "{{ messages[0].content }}";
    let with_tools = "{{ messages[0].content }} {{ tools[0].function.name }}{# <tool_call> #}";
    let named = json!([{"name": "default", "template": plain}, {"name": "tool_use", "template": with_tools}]);
    let tool = Tool { name: "f".into(), description: None, parameters: None, strict: false };
    let additional = ModelFolder::new(&byte_level()).with_text("chat_template.jinja", plain);
    std::fs::create_dir(additional.path().join("additional_chat_templates")).unwrap();
    for folder in [
        ModelFolder::new(&byte_level()).with("tokenizer_config.json", &json!({"chat_template": named})),
        additional.with_text("additional_chat_templates/tool_use.jinja", with_tools),
    ] {
        let model = folder.open().unwrap();
        let prompt = |tools: Vec<Tool>| {
            let chat = Chat { messages: vec![user("a")], tools, ..Chat::default() };
            model.prompt(chat).map(|prompt| model.decode(&prompt.tokens))
        };
        assert_eq!((prompt(Vec::new()).unwrap(), prompt(vec![tool.clone()]).unwrap()), ("a".into(), "a f".into()));
    }
}

#[test]
fn a_base_model_takes_no_tools() {
    let model = ModelFolder::new(&byte_level()).open().unwrap();
    let tools = vec![Tool { name: "f".into(), description: None, parameters: None, strict: false }];
    let error = model.prompt(Chat { messages: vec![user("a")], tools, ..Chat::default() }).unwrap_err();
    assert!(error.to_string().contains("no tools"), "{error}");
}

#[test]
fn a_tokenizer_larger_than_the_vocabulary_is_refused_with_both_numbers() {
    let folder = ModelFolder::new(&byte_level()).with("config.json", &json!({"vocab_size": 200}));
    let error = folder.open().unwrap_err().to_string();
    for part in ["tokenizer.json", "does not match the vocabulary", "265", "200"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_added_token_outside_the_vocabulary_is_refused_only_where_it_is_used() {
    let vocab_size = size(&byte_level()) - 1;
    let model = ModelFolder::chat().with("config.json", &json!({"vocab_size": vocab_size})).open().unwrap();
    assert!(model.encode_chat(&[user("fine")], None).is_ok());
    let error = model.encode_chat(&[user("a <tool>")], None).unwrap_err();
    assert!(matches!(&error, TextError::Chat(words) if words.contains("<tool>") && words.contains("269")), "{error}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    for name in ["config.json", "tokenizer.json"] {
        let error = ModelFolder::chat().without(name).open().unwrap_err();
        assert!(matches!(&error, TextError::Missing(path) if path.ends_with(name)), "{error}");
    }
    let folder = ModelFolder::chat();
    let error = TextModel::open(&folder.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, TextError::Missing(_)), "{error}");
}

#[test]
fn a_file_that_is_broken_is_named() {
    let files = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"];
    for (name, text) in
        files.iter().flat_map(|name| ["", "{", "[]", "\u{0}", "{\"model\": 1}"].map(|text| (*name, text)))
    {
        // What a file does not say is not looked at.
        let harmless = text.contains("model") && name != "tokenizer.json";
        let opened = ModelFolder::chat().with_text(name, text).open();
        match opened {
            Err(TextError::Broken { path, .. }) => assert!(path.ends_with(name), "{name} {text:?}"),
            other => assert!(harmless && other.is_ok(), "{name} {text:?}: {other:?}"),
        }
    }
}

#[test]
fn a_file_without_end_or_that_is_none_is_not_read() {
    let folder = ModelFolder::chat();
    File::create(folder.path().join("tokenizer_config.json")).unwrap().set_len(1 << 30).unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(&error, TextError::Broken { problem, .. } if problem.contains("more than")), "{error}");
    let folder = ModelFolder::chat().without("chat_template.jinja");
    std::fs::create_dir(folder.path().join("chat_template.jinja")).unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(&error, TextError::Broken { problem, .. } if problem == "not a regular file"), "{error}");
}

#[test]
fn white_space_on_which_a_tokenizer_would_lose_text_is_refused() {
    let mut tokenizer = byte_level();
    let split = r"\S+|\s+(?!\S)|\s+";
    tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": split}, "behavior": "Removed", "invert": true},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]});
    let model = ModelFolder::new(&tokenizer).open().unwrap();
    let most = "x".to_owned() + &" ".repeat(100_000) + "x";
    let prompt = model.encode_chat(&[user(&most)], None).unwrap();
    assert!(model.decode(&prompt) == most, "text was lost");
    let error = model.encode_chat(&[user(&most.replace("  ", "   "))], None).unwrap_err();
    assert!(matches!(&error, TextError::Chat(words) if words.contains("white space")), "{error}");
}

#[test]
fn truncation_and_padding_left_in_a_tokenizer_cut_and_fill_nothing() {
    let mut tokenizer = byte_level();
    tokenizer["truncation"] = json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    tokenizer["padding"] = json!({
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "!",
    });
    let model = ModelFolder::new(&tokenizer).open().unwrap();
    assert_eq!(model.encode_chat(&[user("xyzw vuts")], None).unwrap().len(), 10);
}

#[test]
fn a_decoder_of_a_kind_that_cannot_be_streamed_is_not_supported() {
    for decoder in [
        json!({"type": "CTC", "pad_token": "a", "word_delimiter_token": "|", "cleanup": true}),
        json!({"type": "Strip", "content": " ", "start": 0, "stop": 1}),
    ] {
        let mut tokenizer = byte_fallback();
        tokenizer["decoder"] = decoder;
        let error = ModelFolder::new(&tokenizer).open().unwrap_err();
        assert!(matches!(&error, TextError::NotSupported { path, .. } if path.ends_with("tokenizer.json")), "{error}");
    }
}

#[test]
fn a_piece_tokenizer_encodes_the_templates_text_and_adds_nothing() {
    let folder = ModelFolder::new(&byte_fallback())
        .with("tokenizer_config.json", &json!({"bos_token": "<s>", "eos_token": "</s>"}))
        .with_text("chat_template.jinja", "{{ bos_token }}[{{ messages[0].content }}]");
    let model = folder.open().unwrap();
    let prompt = model.encode_chat(&[user("the 😀")], None).unwrap();
    assert_eq!(prompt.iter().filter(|id| **id == 1).count(), 1);
    assert_eq!((prompt[0], model.stop_tokens()), (1, &[2][..]));
    assert_eq!(model.decode(&prompt), "[the 😀]");
}
