"""An encoder, or sub-word vectors, made from a hospital's own unlabelled notes.

    texts → corpus → vocabulary → packed → objective → trainer → a folder

corpus      texts read, repeated segments dropped, notes of a test part kept out
vocabulary  a tokenizer learned on them
beginning   a new model, or one that is there
opened      the tokenizer of an encoder that is there
extension   more whole words for it
packed      full sequences of token ids, on disk
sizes       how wide and deep a new encoder is
masked      objective: guess what was masked (Devlin et al. 2019)
bag_of_words objective: and from the mean state, which words there are (Ma et al. 2024)
distilled   objective: guess what was masked, in agreement with a teacher (Sanh et al. 2019)
masters     weights in 16 bit, and their copy in 32
card        what a reader of the folder must know
trainer     steps for the minutes that there are; killed, it goes on where it was

    texts → corpus → vocabulary → vectors → a folder

vectors     co-occurrence counts, factored: what minutes on a CPU can learn
"""
