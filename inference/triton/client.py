"""One Triton server, asked over gRPC for scores."""

from tritonclient.grpc.aio import InferInput, InferRequestedOutput

from inference.interactions import Float32Array, Int32Array
from infra.triton import TritonConnection

OUTPUTS = [InferRequestedOutput("item_ids"), InferRequestedOutput("scores")]


class Triton(TritonConnection):
    """A server that scores histories."""

    async def infer(
        self, name: str, history: Int32Array, weights: Float32Array, timeout_s: float
    ) -> tuple[Int32Array, Float32Array]:
        """Score encoded histories, shape (B, L); the answer is `item_ids` and `scores`, shape (B, K).

        Raises:
            NotFound: no such model is loaded.
            Unavailable: the server is away.
            TimedOut: no answer within `timeout_s`.
            Incompatible: the model fails on these tensors.
        """
        inputs = [_tensor("history", "INT32", history), _tensor("weights", "FP32", weights)]
        answer = await self._ask(self._client.infer(name, inputs, outputs=OUTPUTS, client_timeout=timeout_s))
        return answer.as_numpy("item_ids"), answer.as_numpy("scores")


def _tensor(name: str, kind: str, values: Int32Array | Float32Array) -> InferInput:
    tensor = InferInput(name, list(values.shape), kind)
    tensor.set_data_from_numpy(values)
    return tensor
