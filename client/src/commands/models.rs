//! `models`, `load`, `unload`.

use std::time::Duration;

use protocol::rpc::ModelsClient;
use protocol::{KeepAlive, LoadModel, Model, ModelId, ModelRef, ResidencyState};
use talkiectl::Client;

use super::Session;
use super::suggest::advised;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::render;

/// How often the share of a model in memory is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    session.print(&client.list().await?, render::models::list)
}

pub async fn load(session: &Session, model: String, keep_alive: Option<KeepAlive>) -> Result<(), Failure> {
    let client = session.connect_or_start().await?;
    let mut progress = session.progress();
    let request = LoadModel { model: ModelId(model), keep_alive };
    let loaded = tokio::select! {
        loaded = client.load(request.clone()) => loaded.map_err(Failure::from),
        never = watch(&client, &request.model, &mut progress) => match never {},
    };
    progress.clear();
    let loaded = advised(&client, &request.model.0, loaded).await?;
    session.print(&loaded, |model, _| render::models::loaded(model))
}

/// Shows how much of the model is in memory, for as long as it is polled.
async fn watch(client: &Client, model: &ModelId, progress: &mut Progress) -> std::convert::Infallible {
    if !progress.is_visible() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // The load itself says what is wrong; not knowing how far it is, is no failure.
        let Ok(Model { residency: Some(residency), .. }) = client.get(ModelRef { model: model.clone() }).await else {
            continue;
        };
        if residency.state == ResidencyState::Loading {
            progress.show(&format!("loading {model} {}", render::percent(residency.loaded_share)));
        }
    }
}

pub async fn unload(session: &Session, model: String) -> Result<(), Failure> {
    let client = session.connect().await?;
    let model = ModelId(model);
    let unloaded = client.unload(ModelRef { model: model.clone() }).await.map_err(Failure::from);
    let unloaded = advised(&client, &model.0, unloaded).await?;
    session.print(&unloaded, |unloaded, _| render::models::unloaded(&model, *unloaded))
}
