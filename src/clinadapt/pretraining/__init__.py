"""Pre-training of encoders and sub-word vectors on a hospital's own unlabelled notes.

An encoder: texts → corpus → tokenizer → packed sequences → objective → trainer → a folder

corpus                reads texts, removes repeated segments and notes of a test part
tokenizer_training    trains a tokenizer on the texts
initialisation        creates a new model, or opens an existing one
special_tokens        opens the tokenizer of an existing encoder
vocabulary_extension  adds whole words to an existing tokenizer
packing               writes full sequences of token ids to disk
model_sizes           widths and depths of new encoders
masked_lm             objective: masked tokens (Devlin et al. 2019)
bag_of_words          objective: masked tokens, and the sequence's words (Ma et al. 2024)
distillation          objective: masked tokens, in agreement with a teacher (Sanh et al. 2019)
mixed_precision       16-bit weights with 32-bit copies for the optimizer
trainer               trains for the available minutes, and resumes if killed
encoder_card          writes the model card of the encoder
pretrain              runs all of this

Sub-word vectors: texts → corpus → tokenizer → vectors → a folder

subword_vectors       factors co-occurrence counts, in minutes on a CPU
"""
