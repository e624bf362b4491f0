"""Pipelines as a user would write them, named in study files by their import path."""

from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer


def words(C=1.0):
    return make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression(C=C)))


def forest():
    return make_pipeline(TfidfVectorizer(), RandomForestClassifier(10, random_state=0))


def without_probabilities():
    return make_pipeline(TfidfVectorizer(), Perceptron())


def shout(texts):
    return [text.upper() for text in texts]


def own_function():
    return make_pipeline(FunctionTransformer(shout), TfidfVectorizer(), LogisticRegression())


not_a_function = 3
