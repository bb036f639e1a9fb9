"""What things are called on the card, in both languages; each name once."""

from __future__ import annotations

from typing import NamedTuple

from riskmodel.cards.rendering import Words
from riskmodel.settings import Label


class Metric(NamedTuple):
    """How a metric is named, explained and printed. `best` is the value it would ideally have."""

    name: Words
    meaning: Words
    best: float
    digits: int
    percent: bool = False


FEWEST_FALLS = 10
HARDLY_ANYBODY_FELL = Words(
    f"Fewer than {FEWEST_FALLS} falls in the test: too few to tell what a model is worth. The intervals draw the same few "
    "falls again and are too narrow.",
    f"检验期内返贫不足{FEWEST_FALLS}户次：不足以判断模型的好坏；区间只是对这几例重复抽样，过窄。",
)

MODELS = {
    "base_rate": Words("Base rate: everybody the same", "基准率：人人相同"),
    "last_status": Words("Rule: below the line most recently", "规则：最近低于监测线者优先"),
    "distance_to_line": Words("Rule: nearest to the line", "规则：离监测线最近者优先"),
    "office_rule": Words("Office rule: near the line, and events", "业务规则：收入接近监测线及突发事件"),
    "one_variable_logit": Words("Logit on distance to the line alone", "单变量逻辑回归（与监测线的距离）"),
    "logistic_regression": Words("Logistic regression, all inputs", "逻辑回归（全部指标）"),
    "hist_gradient_boosting": Words("Histogram gradient boosting", "直方图梯度提升"),
    "lightgbm": Words("LightGBM", "LightGBM"),
}

METRICS = {
    "roc_auc": Metric(
        Words("ROC-AUC", "ROC-AUC"),
        Words(
            "chance that a household that falls ranks above one that does not; 0.5 is a coin, 1 perfect",
            "随机取一户返贫户和一户未返贫户，前者排名更靠前的概率；0.5相当于抽签，1为完全正确",
        ),
        1, 3,
    ),
    "pr_auc": Metric(
        Words("PR-AUC", "PR-AUC"),
        Words(
            "precision averaged over all lengths of the list; drawing lots gives the rate of falls",
            "各种名单长度下准确率的平均值；抽签时等于返贫率",
        ),
        1, 3,
    ),
    "brier": Metric(
        Words("Brier score", "Brier分数"),
        Words("mean squared error of the risk; lower is better", "风险值的均方误差；越低越好"),
        0, 4,
    ),
    "log_loss": Metric(
        Words("Log loss", "对数损失"),
        Words("penalty for confident errors; lower is better", "对“自信的错误”的惩罚；越低越好"),
        0, 4,
    ),
    "calibration_slope": Metric(
        Words("Calibration slope", "校准斜率"),
        Words("1 is right; below 1, risks are too extreme", "1为正好；低于1表示风险值过于极端"),
        1, 2,
    ),
    "calibration_intercept": Metric(
        Words("Calibration intercept", "校准截距"),
        Words("0 is right; above 0, risks are too low on the whole", "0为正好；高于0表示风险值总体偏低"),
        0, 2,
    ),
    "precision_at_capacity": Metric(
        Words("Fall, of those listed", "名单准确率"),
        Words("share of the households on the list that fall", "名单上的户最终返贫的比例"),
        1, 1, True,
    ),
    "recall_at_capacity": Metric(
        Words("Found, of those who fall", "名单覆盖率"),
        Words("share of the households that fall which the list holds", "返贫户中被名单发现的比例"),
        1, 1, True,
    ),
}  # fmt: skip

NATURES = {
    "objective": Words("objective", "客观"),
    "subjective": Words("subjective", "主观"),
    "background": Words("background", "背景"),
}

UNITS = {
    "0/1": "是否（0/1）",
    "-1 to 1": "-1至1",
    "code": "代码",
    "courses": "次",
    "days per able member and month": "日/劳动力·月",
    "events": "次",
    "Herfindahl index": "赫芬达尔指数",
    "index": "指数",
    "kinds": "种",
    "level": "等级",
    "lines": "监测线倍数",
    "log ratio": "对数比",
    "log ratio per month": "对数比/月",
    "measures": "项",
    "minutes": "分钟",
    "months": "月",
    "months (36 = not in three years)": "月（36=三年内无）",
    "months (60 = never)": "月（60=从未）",
    "mu": "亩",
    "offers": "次",
    "person-months": "人月",
    "person-months/12m": "人月/12个月",
    "persons": "人",
    "persons per room": "人/间",
    "posts": "个",
    "quarter": "季度",
    "ratio": "比值",
    "records": "条",
    "share": "占比",
    "share of available days": "占可工作日比",
    "share of households": "占户数比",
    "share of land": "占土地比",
    "share of members": "占成员比",
    "share of months": "占月份比",
    "share of net income": "占纯收入比",
    "share of the line": "占监测线比",
    "share of workers": "占务工人数比",
    "spells": "次",
    "visits": "次",
    "years": "年",
    "years or level": "年或等级",
}

STANDINGS = {
    "beats": Words("The model is better: the two intervals do not touch", "模型更好：两个区间互不重叠"),
    "ahead": Words(
        "The model is ahead: its interval lies above the rule's figure, but the two intervals overlap. Keep "
        "the rule beside it, and compare again with more months",
        "模型领先：其区间高于规则的数值，但两个区间有重叠。请同时保留该规则，积累更多月份后再作比较",
    ),
    "not_better": Words(
        "The model is not shown to be better. We recommend the simple rule: it does as well, and anybody can check it",
        "没有证据表明模型更好。建议使用简单规则：效果相当，而且人人都能核对",
    ),
}

FALLS = {
    "return": Words("return to poverty (were lifted before)", "返贫（原脱贫户）"),
    "fall": Words("fall into poverty (never registered poor)", "致贫（一般农户）"),
    "unknown": Words("household type not recorded", "农户类型未记录"),
}

SPLITS = {
    "test": Words("Test: the last months", "检验：最后的月份"),
    "test_disjoint": Words("Test without households seen in training", "检验：剔除训练中出现过的农户"),
}


def split_words(name: str) -> Words:
    """A split of the results in words."""
    if name in SPLITS:
        return SPLITS[name]
    number = name.removeprefix("fold_")
    return Words(f"Earlier fold {number}", f"较早的第{number}折")


def when_words(label: Label) -> Words:
    """When the outcome is looked for.

    >>> when_words(Label(horizon_months=6)).en
    'within 6 months'
    """
    months = label.horizon_months
    if label.when == "at":
        return Words(f"{months} months later", f"{months}个月后")
    return Words(f"within {months} months", f"{months}个月内")


def step_words(months: int) -> Words:
    """How often a register has a record.

    >>> step_words(3).en
    'one record a quarter'
    """
    if months in (1, 3, 12):
        en, zh = {1: ("month", "月"), 3: ("quarter", "季度"), 12: ("year", "年")}[months]
        return Words(f"one record a {en}", f"每{zh}一条记录")
    return Words(f"one record every {months} months", f"每{months}个月一条记录")


def counties_words(n: int) -> Words:
    """How many counties.

    >>> counties_words(1).en
    '1 county'
    """
    return Words("1 county" if n == 1 else f"{n} counties", f"共{n}个县（区）")


def lag_words(days: int) -> Words:
    """When the office learns of a period, in brackets; nothing where that is its end."""
    if not days:
        return Words("", "")
    return Words(f" (as a rule {days} days after the end of the period)", f"（一般为期末后{days}天）")


MEASURES = {
    "selection_rate": Words("On the list", "入选比例"),
    "recall": Words("Found, of those who fall", "返贫户覆盖率"),
    "precision": Words("Fall, of those listed", "名单准确率"),
    "observed_over_expected": Words("Fell for each one expected", "实际/预期返贫"),
    "subjective_share": Words("Called subjective, of those listed", "判为主观的比例"),
}

GROUPS = {
    "all": Words("All", "全部"),
    "helped": Words("Helped before the outcome", "结果之前获得帮扶"),
    "not_helped": Words("Not helped", "未获帮扶"),
    "head_sex": Words("Sex of the head", "户主性别"),
    "male": Words("male", "男"),
    "female": Words("female", "女"),
    "head_age": Words("Age of the head", "户主年龄"),
    "under 30": Words("under 30", "30岁以下"),
    "30-44": Words("30 to 44", "30至44岁"),
    "45-59": Words("45 to 59", "45至59岁"),
    "60 and over": Words("60 and over", "60岁及以上"),
    "elderly_members": Words("Elderly members", "老年成员"),
    "some": Words("some", "部分"),
    "none": Words("none", "无"),
    "disabled_member": Words("A disabled member", "有残疾成员"),
    "head_ethnic_minority": Words("Ethnic minority", "少数民族"),
    "head_religion": Words("Religion", "宗教信仰"),
    "remote": Words("Remote village", "偏远村"),
    "relocated": Words("Relocated", "易地搬迁"),
    "household_type": Words("Type of household", "农户类型"),
    "lifted": Words("lifted out of poverty", "脱贫户"),
    "ordinary": Words("ordinary", "一般农户"),
    "yes": Words("yes", "是"),
    "no": Words("no", "否"),
    "unknown": Words("unknown", "不明"),
}

SITUATIONS = {
    "distance to the line": Words("Income against the line", "收入与监测线之比"),
    "below the line": Words("below the line", "低于监测线"),
    "up to 1.1 lines": Words("up to 1.1 lines", "1.1倍以内"),
    "1.1-1.2 lines": Words("1.1 to 1.2 lines", "1.1至1.2倍"),
    "1.2-1.5 lines": Words("1.2 to 1.5 lines", "1.2至1.5倍"),
    "1.5-2 lines": Words("1.5 to 2 lines", "1.5至2倍"),
    "2 lines and over": Words("2 lines and over", "2倍及以上"),
    "shock in 12 months": Words("Shock in the last 12 months", "近12个月突发事件"),
    "illness": Words("illness", "患病"),
    "disability": Words("disability", "残疾"),
    "accident": Words("accident", "意外"),
    "disaster": Words("disaster", "灾害"),
    "market": Words("market", "市场"),
    "job loss": Words("job loss", "失业"),
    "schooling cost": Words("cost of schooling", "上学费用"),
    "family loss": Words("death in the family", "家庭成员去世"),
    "house damage": Words("damage to the house", "住房受损"),
    "water failure": Words("failure of water", "饮水故障"),
    "none": Words("none", "无"),
    "household type": Words("Type of household", "农户类型"),
    "lifted": Words("lifted out of poverty", "脱贫户"),
    "ordinary": Words("ordinary", "一般农户"),
    "last record": Words("Last record", "最近一次记录"),
    "this month": Words("this month", "本月"),
    "1 month ago": Words("1 month ago", "1个月前"),
    "2-3 months ago": Words("2 to 3 months ago", "2至3个月前"),
    "4 months ago or more": Words("4 months ago or more", "4个月及以前"),
    "unknown": Words("unknown", "不明"),
}

DRAWN = {"household_id": Words("households", "农户"), "village_id": Words("villages", "村")}
"""What the resamples of intervals draw."""

RULES = {
    "simplest_within_one_se": Words(
        "the simplest within one standard error of the best", "与最优相差不超过一个标准误的最简模型"
    ),
    "best_average": Words("the best on average", "平均最优"),
    "best_last": Words("the best in the last period", "最近一期最优"),
    "recency_weighted": Words("the best with recent periods counting more", "近期加权最优"),
    "least_variance": Words("the steadiest", "最稳定"),
}

DECISIONS = {
    "confirm": Words("confirmed", "确认"),
    "override_cause": Words("cause changed", "更改原因"),
    "reject": Words("held not to be at risk", "认为不属风险户"),
    "defer": Words("put off", "暂缓"),
}

STATUSES = {
    "deferred": Words("put off", "暂缓"),
    "decided": Words("decided by one reviewer", "一人已审"),
    "agreed": Words("two or more agree", "多人意见一致"),
    "differs": Words("reviewers differ", "意见不一"),
    "open": Words("open", "未审"),
}

AGREEMENT = {
    "agreement": Words("observed agreement", "一致率"),
    "kappa": Words("Cohen’s kappa", "Cohen κ系数"),
    "ac1": Words("Gwet’s AC1", "Gwet AC1系数"),
}
