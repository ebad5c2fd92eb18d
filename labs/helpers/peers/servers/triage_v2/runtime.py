"""MLServer: lab 10's class, with MLServer's own batching."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse
from triage import Triage


class Runtime(MLModel):
    async def load(self):
        self.triage = Triage()
        return True

    async def predict(self, payload):
        answers = self.triage(StringCodec.decode_input(payload.inputs[0]))
        labels, scores = zip(*answers, strict=True)
        outputs = [StringCodec.encode_output("labels", labels), NumpyCodec.encode_output("scores", np.array(scores))]
        return InferenceResponse(model_name=self.name, outputs=outputs)
