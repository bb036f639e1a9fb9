"""Features, drivers and measures: definitions read from `configs/`, checked, compiled to SQL."""

from riskmodel.catalogue.catalogue import Catalogue, Condition, Driver, Feature, Measure, load_catalogue

__all__ = ["Catalogue", "Condition", "Driver", "Feature", "Measure", "load_catalogue"]
