//! `workflows.*`: what is done step by step while nobody asks.

use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use protocol::rpc::WorkflowsServer;
use protocol::{
    CheckWorkflow, ListRuns, ResumeRun, Run, RunDetails, RunList, RunRef, RunStarted, RunWorkflow, ShowRun,
    SubscribeRuns, WorkflowCheck, WorkflowFile, WorkflowList, WorkflowRef,
};
use serde_json::Value;

use super::{Rpc, error};
use crate::workflow::Cause;

#[async_trait]
impl WorkflowsServer for Rpc {
    async fn list(&self) -> RpcResult<WorkflowList> {
        self.0.workflows.list().await.map_err(error)
    }

    async fn get(&self, request: WorkflowRef) -> RpcResult<WorkflowFile> {
        self.0.workflows.get(&request.workflow).await.map_err(error)
    }

    async fn check(&self, request: CheckWorkflow) -> RpcResult<WorkflowCheck> {
        self.0.workflows.check(request).await.map_err(error)
    }

    async fn schema(&self) -> RpcResult<Value> {
        Ok(workflow::schema())
    }

    async fn run(&self, request: RunWorkflow) -> RpcResult<RunStarted> {
        let RunWorkflow { workflow, inputs, dry_run } = request;
        if dry_run {
            let plan = self.0.workflows.plan(&workflow, inputs).await.map_err(error)?;
            return Ok(RunStarted { run: None, plan: Some(plan) });
        }
        let run = self.0.workflows.start(&workflow, inputs, Cause::ByHand).await.map_err(error)?;
        Ok(RunStarted { run: Some(run), plan: None })
    }

    async fn runs(&self, request: ListRuns) -> RpcResult<RunList> {
        Ok(RunList { runs: self.0.workflows.runs(request).await.map_err(error)? })
    }

    async fn show(&self, request: ShowRun) -> RpcResult<RunDetails> {
        self.0.workflows.show(request).await.map_err(error)
    }

    async fn cancel(&self, request: RunRef) -> RpcResult<Run> {
        self.0.workflows.cancel(&request.run).await.map_err(error)
    }

    async fn resume(&self, request: ResumeRun) -> RpcResult<Run> {
        self.0.workflows.resume(request).await.map_err(error)
    }

    async fn follow(&self, pending: PendingSubscriptionSink, request: SubscribeRuns) -> SubscriptionResult {
        let mut follower = match self.0.workflows.follow(&request).await {
            Ok(follower) => follower,
            Err(refused) => {
                pending.reject(error(refused)).await;
                return Ok(());
            }
        };
        let sink = pending.accept().await?;
        loop {
            let events = tokio::select! {
                events = follower.next() => events,
                () = sink.closed() => return Ok(()),
            };
            let Some(events) = events else { return Ok(()) };
            for event in events {
                if !self.send_event(&event, &sink).await {
                    return Ok(());
                }
            }
        }
    }
}
