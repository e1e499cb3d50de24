//! A text model from a GGUF file, run by mistralrs (cargo feature `mistralrs`). It serves model families that this
//! program's own engine does not know. It only generates text, because the released mistralrs crate cannot swap
//! adapters at run time.

use super::prefill;
use crate::learn::ports::model::{ModelError, Prompt, Sampling};
use crate::learn::ports::text_model::TextModel;
use crate::learn::ports::watch::Watch;
use mistralrs::{
    GgufModelBuilder, Model, RequestBuilder, SamplingParams, StopTokens, TextMessageRole,
};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The interval at which a running request checks for a stop.
const TICK: Duration = Duration::from_millis(25);

/// A GGUF model that mistralrs runs on the CPU.
pub struct MistralModel {
    name: String,
    model: Model,
    /// Runs the asynchronous calls of mistralrs for synchronous callers.
    runtime: Runtime,
}

impl MistralModel {
    /// Loads the file. Fails if there is no such file or mistralrs cannot load it.
    pub fn open(gguf: &Path) -> Result<Self, String> {
        let at = |what: &str| format!("{}: {what}", gguf.display());
        if !gguf.is_file() {
            return Err(at("there is no such file"));
        }
        let file = gguf.file_name().and_then(|name| name.to_str());
        let file = file.ok_or_else(|| at("the file's name is not UTF-8"))?;
        // A bare file name lies in the working directory.
        let directory = match gguf.parent().map(|dir| dir.to_string_lossy()) {
            Some(dir) if !dir.is_empty() => dir.into_owned(),
            _ => ".".to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| at(&format!("cannot start mistralrs's threads: {e}")))?;
        let builder = GgufModelBuilder::new(directory, vec![file]).with_force_cpu();
        let model = runtime.block_on(builder.build());
        let model = model.map_err(|e| at(&format!("mistralrs cannot load it: {e:#}")))?;
        Ok(MistralModel {
            name: file.trim_end_matches(".gguf").to_owned(),
            model,
            runtime,
        })
    }

    /// One completion. If the future is dropped, mistralrs still finishes the request, but the answer is discarded.
    async fn ask(&self, prompt: &Prompt, sampling: &Sampling) -> Result<String, String> {
        let mut request = RequestBuilder::new().set_sampling(params(sampling));
        if let Some(system) = &prompt.system {
            request = request.add_message(TextMessageRole::System, system);
        }
        for (user, assistant) in &prompt.examples {
            request = request.add_message(TextMessageRole::User, user);
            request = request.add_message(TextMessageRole::Assistant, assistant);
        }
        request = request.add_message(TextMessageRole::User, prefill::asking_for(prompt));
        let answer = self.model.send_chat_request(request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let choice = answer.choices.into_iter().next();
        let choice = choice.ok_or("it answered without a choice")?;
        let cut_off = choice.finish_reason == "length";
        let text = choice.message.content;
        let text = text.ok_or("it answered without text")?;
        let text = prefill::taken_off(&text, &prompt.prefill);
        Ok(sampling.completed(text, cut_off))
    }
}

impl TextModel for MistralModel {
    fn name(&self) -> &str {
        &self.name
    }

    /// Completes one prompt after another, because on a CPU mistralrs gains little from batches. mistralrs takes no
    /// seed, so above temperature 0 the same request may give another text.
    fn complete(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        let failed = |reason| ModelError::Text {
            model: format!("{} (mistralrs)", self.name),
            reason,
        };
        let one = |prompt: &Prompt| {
            self.runtime.block_on(async {
                let answer = self.ask(prompt, sampling);
                let mut answer = std::pin::pin!(answer);
                loop {
                    if watch.stopped() {
                        return Err(ModelError::Stopped);
                    }
                    if let Ok(text) = tokio::time::timeout(TICK, &mut answer).await {
                        return text.map_err(failed);
                    }
                }
            })
        };
        let of_prompt = |prompt| (0..sampling.n).map(|_| one(prompt)).collect();
        prompts.iter().map(of_prompt).collect()
    }
}

fn params(sampling: &Sampling) -> SamplingParams {
    let mut params = SamplingParams::deterministic();
    if sampling.temperature > 0.0 {
        params.temperature = Some(f64::from(sampling.temperature));
        params.top_p = Some(f64::from(sampling.top_p));
        params.top_k = None;
    }
    params.max_len = Some(sampling.max_tokens);
    if !sampling.stop.is_empty() {
        params.stop_toks = Some(StopTokens::Seqs(sampling.stop.clone()));
    }
    params
}
