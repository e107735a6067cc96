import { networkConfiguration } from '../shared/values/config.schema.js'

export const schema = networkConfiguration
