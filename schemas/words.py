"""Words in both languages, and those that boards, alerts and sentences share: what a drift is of, and its causes."""

from typing import Literal, NamedTuple

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Words(NamedTuple):
    """One text in both languages: neither edition can lack a sentence.

    Attributes:
        en: English.
        zh: Simplified Chinese.
    """

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """The text in one language."""
        return self.en if language == "en" else self.zh

    def after(self, glyph: str) -> "Words":
        """The same behind a glyph, which both languages share."""
        return Words(f"{glyph} {self.en}", f"{glyph} {self.zh}")


#: What has changed, by a drift's signal, as the subject of a sentence: of drift records and of alerts.
SUBJECTS = {
    "accuracy": Words("accuracy", "准确率"),
    "accuracy_target": Words("accuracy", "准确率"),
    "agent_accuracy": Words("accuracy", "准确率"),
    "qa_accuracy": Words("accuracy of review verdicts", "质检判定准确率"),
    "error_finding": Words("share of reviews that find an error", "质检发现错误的比例"),
    "handle_time": Words("typical handling time", "单条标注的典型时长"),
    # Of which one a sentence says where it knows it.
    "label_mix": Words("share of a label", "某一标签的占比"),
}
#: The same as a cell of a table, which tells signals of one subject apart.
SIGNAL_NAMES = {
    "accuracy": Words("accuracy", "准确率"),
    "accuracy_target": Words("accuracy against target", "准确率对照目标"),
    "agent_accuracy": Words("a person's accuracy", "个人准确率"),
    "qa_accuracy": Words("review accuracy", "质检准确率"),
    "error_finding": Words("share of errors found", "发现错误占比"),
    "handle_time": Words("handling time", "处理时长"),
    "label_mix": Words("share of a label", "标签占比"),
}
#: What a cause is a member of.
DIMENSIONS = {
    "agent": Words("agent", "标注员"),
    "project": Words("project", "项目"),
    "label": Words("label", "标签"),
    "error_type": Words("error type", "错误类型"),
    "sop_version": Words("SOP version", "SOP 版本"),
    "market": Words("market", "市场"),
    "reviewer": Words("reviewer", "质检员"),
    "stratum": Words("difficulty class", "难度分层"),
}
