import { type Definition, Ended, fine, wrong } from './frame/command.js'
import { completionScript, type Shell, shells } from './frame/completion.js'

/** `podwire completion SHELL`: what a shell has to read to complete its words. */
export default {
  name: 'completion',
  summary: 'print the completion script for a shell',
  arguments: [{ words: '<shell>', what: 'bash, zsh or fish', values: () => shells }],
  examples: [
    { line: 'source <(podwire completion bash)', what: 'completes in this bash' },
    { line: 'podwire completion fish >~/.config/fish/completions/podwire.fish', what: 'completes in every fish' },
  ],
  run: ({ words: [shell = ''], console, program }) => {
    if (!isShell(shell)) throw new Ended(wrong, `there is no completion for "${shell}": bash, zsh or fish`)
    console.write(completionScript(shell, program.name()).trimEnd())
    return fine
  },
} satisfies Definition

// --- internal

function isShell(text: string): text is Shell {
  return (shells as readonly string[]).includes(text)
}
