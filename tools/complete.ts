import { type Definition, fine } from './frame/command.js'
import { candidates } from './frame/completion.js'

/** `podwire complete -- WORD...`: what the completion scripts of shells ask. */
export default {
  name: 'complete',
  summary: 'print what may stand in the place of the last word, with what it means, a tab between',
  isHidden: true,
  arguments: [{ words: '[words...]', what: 'the words behind the name of the program' }],
  run: ({ words, program, console }) => {
    console.write(...candidates(program, words).map(({ word, what }) => `${word}\t${what}`))
    return fine
  },
} satisfies Definition
